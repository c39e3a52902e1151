// Kinds `text`, `parameters` and `config`, and facts of models.
#include "tests/parity/facts.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/framework.h"
#include "engine/nn/build.h"
#include "engine/nn/complete.h"
#include "engine/nn/schema.h"
#include "engine/session.h"
#include "engine/summary.h"
#include "tests/parity/custom.h"
#include "tests/parity/forward.h"

namespace strata::parity {
namespace {

v1::DataType TypeOf(DType t) {
  switch (t) {
    case DType::kI64:
      return v1::INT64;
    case DType::kI32:
      return v1::INT32;
    case DType::kBool:
      return v1::BOOL;
    default:
      return v1::FLOAT32;
  }
}

v1::Input InputLike(const Case& c, const std::string& name) {
  v1::Input input;
  input.set_name(name);
  const Tensor* t = c.Find("input." + name);
  if (t == nullptr) return input;
  for (size_t d = 1; d < t->shape().size(); ++d) input.add_shape(t->shape()[d]);
  if (t->shape().empty()) input.set_batched(false);
  input.set_dtype(TypeOf(t->dtype()));
  return input;
}

bool IsSequential(const Json& json) { return json.is_object() && json.value("class_name", Json()) == "Sequential"; }

// The first layer that is no model.
const v1::Layer* FirstLayer(const v1::Model& model) {
  if (model.layers().empty()) return nullptr;
  const v1::Layer& layer = model.layers(0);
  return layer.has_model() ? FirstLayer(layer.model()) : &layer;
}

// The first difference of two texts, as a line of each.
std::string Difference(const std::string& got, const std::string& want) {
  size_t i = 0;
  while (i < got.size() && i < want.size() && got[i] == want[i]) ++i;
  const auto line = [i](const std::string& s) {
    const size_t begin = i == 0 ? 0 : s.rfind('\n', std::min(i, s.size()) - 1) + 1;
    return s.substr(begin, std::min(s.find('\n', i), begin + 100) - begin);
  };
  return absl::StrCat("at ", i, " is \"", line(got), "\", wanted \"", line(want), "\"");
}

void CheckText(const std::string& what, const absl::StatusOr<std::string>& text, const std::string& want,
               Result* result) {
  result->Take(what, text.status());
  if (!text.ok()) return;
  // The last line's end belongs to whoever prints.
  std::string got = *text;
  if (!got.empty() && got.back() == '\n') got.pop_back();
  result->Check(got == want, absl::StrCat(what, ": ", Difference(got, want)));
}

}  // namespace

namespace {

// The first of these fields that the component has and sets; 0 if there is none.
int64_t SizeField(const google::protobuf::Message& attrs, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const auto* field = attrs.GetDescriptor()->FindFieldByName(name);
    if (field != nullptr && attrs.GetReflection()->HasField(attrs, field)) {
      return attrs.GetReflection()->GetInt64(attrs, field);
    }
  }
  return 0;
}

Shape OneInput(const v1::Layer& layer) {
  const auto* kind = nn::KindOf(layer);
  const google::protobuf::Message& attrs = layer.GetReflection()->GetMessage(layer, kind);
  if (layer.has_layer_norm()) {
    Shape shape{2};
    for (int64_t d : layer.layer_norm().normalized_shape()) shape.push_back(d);
    return shape;
  }
  if (layer.has_rms_norm()) {
    Shape shape{2};
    for (int64_t d : layer.rms_norm().normalized_shape()) shape.push_back(d);
    return shape;
  }
  if (const int64_t features = SizeField(attrs, {"input_size"}); features > 0) {
    const bool cell = kind->name().find("cell") != std::string::npos;
    return cell ? Shape{2, features} : Shape{3, 2, features};
  }
  Shape shape{2, 3};
  if (const int64_t n = SizeField(attrs, {"in_features", "in_channels", "num_features", "num_channels"}); n > 0) {
    shape[1] = n;
  }
  if (const int64_t n = SizeField(attrs, {"num_parameters"}); n > 1) shape[1] = n;
  int axes = nn::SpatialAxes(kind->name());
  if (layer.has_unfold()) axes = 2;
  if (layer.has_upsample()) {
    const std::string& mode = layer.upsample().mode();
    axes = mode == "linear" ? 1 : mode == "trilinear" ? 3 : 2;
  }
  for (int i = 0; i < axes; ++i) shape.push_back(8);
  return shape;
}

}  // namespace

std::vector<Shape> InputShapesFor(const v1::Layer& layer) {
  const auto sequence = [](int64_t features) { return Shape{2, 2, features}; };
  switch (layer.kind_case()) {
    case v1::Layer::kMultiheadAttention: {
      const auto& a = layer.multihead_attention();
      return {sequence(a.embed_dim()), sequence(a.has_kdim() ? a.kdim() : a.embed_dim()),
              sequence(a.has_vdim() ? a.vdim() : a.embed_dim())};
    }
    case v1::Layer::kTransformer:
      return {2, sequence(layer.transformer().d_model())};
    case v1::Layer::kTransformerDecoder:
      return {2, sequence(layer.transformer_decoder().decoder_layer().d_model())};
    case v1::Layer::kTransformerDecoderLayer:
      return {2, sequence(layer.transformer_decoder_layer().d_model())};
    case v1::Layer::kTransformerEncoder:
      return {sequence(layer.transformer_encoder().encoder_layer().d_model())};
    case v1::Layer::kTransformerEncoderLayer:
      return {sequence(layer.transformer_encoder_layer().d_model())};
    default:
      return {OneInput(layer)};
  }
}

absl::StatusOr<v1::Model> ModelOf(const Case& c, const Json& json, const std::vector<std::string>& names) {
  if (c.dialect == v1::KERAS) return ImportKeras(c.Text(json), CustomObjects(c.dialect));
  std::vector<v1::Input> inputs;
  for (const std::string& name : names) inputs.push_back(InputLike(c, name));
  STRATA_ASSIGN_OR_RETURN(v1::Model model, ImportPytorch(c.Text(json), inputs, CustomObjects(c.dialect)));
  v1::Layer filled;  // sizes may be the framework's defaults
  const v1::Layer* first = FirstLayer(model);
  if (first != nullptr) {
    filled = *first;
    STRATA_RETURN_IF_ERROR(nn::Fill(c.dialect, "", &filled));
    first = &filled;
  }
  if (inputs.empty() && first != nullptr) {
    std::vector<v1::Input> guessed;
    for (const Shape& shape : InputShapesFor(*first)) {
      v1::Input& input = guessed.emplace_back();
      input.set_name(absl::StrCat("input", guessed.size()));
      for (size_t d = 1; d < shape.size(); ++d) input.add_shape(shape[d]);
      if (first->has_embedding()) input.set_dtype(v1::INT64);
    }
    return ImportPytorch(c.Text(json), guessed, CustomObjects(c.dialect));
  }
  return model;
}

void CheckModelFacts(const Case& c, const v1::Model& model, const nn::Collected& collected, Result* result) {
  if (c.call.contains("count_params")) {
    int64_t count = 0;
    for (const nn::ParamSpec& p : collected.params) count += NumElements(p.shape);
    result->Check(c.call["count_params"] == count, absl::StrCat("call.count_params: is ", count));
  }
  if (!c.call.contains("summary")) return;
  // What summary() was called with.
  const Json with = c.call.value("summary_options", Json::object());
  const SummaryOptions options{.style = "keras",
                               .line_length = with.value("line_length", int64_t{0}),
                               .positions = with.value("positions", std::vector<double>()),
                               .expand_nested = with.value("expand_nested", false),
                               .show_trainable = with.value("show_trainable", false)};
  CheckText("call.summary", Summarize(model, options), c.call["summary"], result);
}

Result RunText(const Case& c) {
  Result result;
  std::string text;
  if (const auto model = ModelOf(c, c.component, {}); model.ok()) {
    const auto complete = Complete(*model);
    result.Take("complete", complete.status());
    if (!complete.ok()) return result;
    text = IsSequential(c.component) ? PrintPytorch(*complete) : PrintPytorch(complete->layers(0));
  } else if (const auto loss = ImportLoss(c.dialect, c.ComponentText(), CustomObjects(c.dialect)); loss.ok()) {
    text = PrintPytorch(*loss);
  } else {
    result.Take("import", model.status());
    return result;
  }
  CheckText("call.text", text, c.call["text"], &result);
  return result;
}

Result RunParameters(const Case& c) {
  Result result;
  const auto imported = ModelOf(c, c.component, {});
  result.Take("import", imported.status());
  if (!imported.ok()) return result;
  const auto model = Complete(*imported);
  result.Take("complete", model.status());
  if (!model.ok()) return result;
  const auto facts = Inspect(*model, nullptr, 2);
  result.Take("inspect", facts.status());
  if (!facts.ok()) return result;
  const Json frozen = c.call.value("frozen", Json::array());
  Json parameters = Json::array(), buffers = Json::array();
  int64_t total = 0, trainable = 0;
  for (const ParameterSpec& p : facts->parameters) {
    const std::string name = IsSequential(c.component) ? p.name : p.name.substr(p.name.find('.') + 1);
    (p.buffer ? buffers : parameters).push_back({name, p.shape});
    if (p.buffer) continue;
    total += NumElements(p.shape);
    if (std::find(frozen.begin(), frozen.end(), name) == frozen.end()) trainable += NumElements(p.shape);
  }
  const Json got = {{"parameters", parameters},
                    {"buffers", buffers},
                    {"total_params", total},
                    {"trainable_params", trainable},
                    {"non_trainable_params", total - trainable}};
  for (const auto& [key, want] : c.call["expect"].items()) {
    result.Check(got.contains(key) && got[key] == want,
                 absl::StrCat("call.expect.", key, ": is ", got.contains(key) ? got[key].dump() : "unknown"));
  }
  return result;
}

namespace {

// Objects as the cases write them: without names and without what only says where a class lives.
Json Bare(const Json& json) {
  if (json.is_array()) {
    Json list = Json::array();
    for (const Json& v : json) list.push_back(Bare(v));
    return list;
  }
  if (!json.is_object()) return json;
  Json object = Json::object();
  for (const auto& [key, value] : json.items()) {
    if (key == "name" || key == "module" || key == "registered_name" || key == "build_config") continue;
    object[key] = Bare(value);
  }
  return object;
}

// Equal values, where a number may stand as its text (an array that JSON does not know).
bool SameJson(const Json& got, const Json& want) {
  if (got.is_number() && want.is_string()) return absl::StrCat(want.get<std::string>()) == got.dump();
  if (got.is_array() && want.is_array()) {
    return got.size() == want.size() && std::equal(got.begin(), got.end(), want.begin(), SameJson);
  }
  if (!got.is_object() || !want.is_object()) return got == want;
  if (got.size() != want.size()) return false;
  for (const auto& [key, value] : want.items()) {
    if (!got.contains(key) || !SameJson(got[key], value)) return false;
  }
  return true;
}

// The path of the first difference.
std::string JsonDifference(const std::string& path, const Json& got, const Json& want) {
  if (got.is_object() && want.is_object()) {
    for (const auto& [key, value] : want.items()) {
      if (!got.contains(key)) return absl::StrCat(path, ".", key, ": is missing");
      if (!SameJson(got[key], value)) return JsonDifference(absl::StrCat(path, ".", key), got[key], value);
    }
    for (const auto& [key, value] : got.items()) {
      if (!want.contains(key)) return absl::StrCat(path, ".", key, ": is too many");
    }
  }
  if (got.is_array() && want.is_array() && got.size() == want.size()) {
    for (size_t i = 0; i < got.size(); ++i) {
      if (!SameJson(got[i], want[i])) return JsonDifference(absl::StrCat(path, "[", i, "]"), got[i], want[i]);
    }
  }
  return absl::StrCat(path, ": is ", got.dump(), ", wanted ", want.dump());
}

// Writes an object's configuration, compares it, and reads it back.
template <typename Message, typename Read>
void CheckWritten(const Case& c, Read read, absl::StatusOr<std::string> (*write)(v1::Dialect, const Message&),
                  Result* result) {
  const auto object = read(c.dialect, c.ComponentText());
  result->Take("import", object.status());
  if (!object.ok()) return;
  const auto text = write(c.dialect, *object);
  result->Take("export", text.status());
  if (!text.ok()) return;
  const Json got = Bare(Json::parse(*text, nullptr, false).value("config", Json())), want = Bare(c.call["config"]);
  result->Check(SameJson(got, want), JsonDifference("call.config", got, want));
  const auto again = read(c.dialect, *text);
  result->Take("import again", again.status());
  if (!again.ok()) return;
  const auto second = write(c.dialect, *again);
  result->Check(second.ok() && *second == *text, "call.config: reading it back gives another object");
}

// An importer that knows the custom components of the cases.
template <typename Message>
auto WithCustom(absl::StatusOr<Message> (*import)(v1::Dialect, std::string_view, const Definitions&)) {
  return [import](v1::Dialect dialect, std::string_view text) { return import(dialect, text, CustomObjects(dialect)); };
}

// The layers of functional models are listed in an order of the graph; by name they can be compared.
Json Ordered(Json json) {
  if (json.is_object()) {
    for (auto& [key, value] : json.items()) value = Ordered(value);
    // The module of a user's class is a matter of the user's files.
    if (json.contains("registered_name") && json["registered_name"].is_string()) json.erase("module");
    if (json.contains("input_layers") && json.contains("layers")) {
      std::sort(json["layers"].begin(), json["layers"].end(),
                [](const Json& a, const Json& b) { return a.value("name", "") < b.value("name", ""); });
    }
  } else if (json.is_array()) {
    for (Json& v : json) v = Ordered(v);
  }
  return json;
}

std::vector<Json> ShapesIn(const Json& json) {
  if (json.is_array() && !json.empty() && json[0].is_array()) return json.get<std::vector<Json>>();
  return {json};
}

void CheckOutputShape(const Case& c, Result* result) {
  const auto layer = ImportLayer(c.dialect, c.ComponentText(), CustomObjects(c.dialect));
  result->Take("import", layer.status());
  if (!layer.ok()) return;
  std::vector<Shape> inputs;
  for (const Json& json : ShapesIn(c.call["compute_output_shape"]["input_shape"])) {
    Shape& shape = inputs.emplace_back();
    for (const Json& d : json) shape.push_back(d.is_null() ? -1 : d.get<int64_t>());
  }
  const auto outputs = ComputeOutputShape(c.dialect, *layer, inputs);
  result->Take("compute_output_shape", outputs.status());
  if (!outputs.ok()) return;
  Json got = Json::array();
  for (const Shape& shape : *outputs) {
    Json list = Json::array();
    for (int64_t d : shape) list.push_back(d < 0 ? Json() : Json(d));
    got.push_back(std::move(list));
  }
  const Json want = ShapesIn(c.call["compute_output_shape"]["output_shape"]);
  result->Check(got == want, absl::StrCat("call.compute_output_shape: is ", got.dump()));
}

}  // namespace

void CheckModelText(const Case& c, Result* result) {
  if (c.dialect != v1::KERAS) return;
  const std::string given = c.ComponentText();
  if (absl::StrContains(given, "DTypePolicy")) return;  // Keras 3's text is read, and never written
  const auto model = ImportKeras(given, CustomObjects(c.dialect));
  if (!model.ok()) return;
  const auto text = ExportKeras(*model);
  result->Take("to_json", text.status());
  if (!text.ok()) return;
  const Json got = Ordered(Json::parse(*text, nullptr, false)), want = Ordered(Json::parse(given, nullptr, false));
  result->Check(SameJson(got, want), JsonDifference("to_json", got, want));
}

Result RunConfig(const Case& c) {
  Result result;
  for (const auto& [key, value] : c.call.items()) {
    if (key != "of" && key != "config" && key != "compute_output_shape") {
      result.Fail(absl::StrCat("call.", key, ": unknown"));
    }
  }
  if (c.call.contains("compute_output_shape")) CheckOutputShape(c, &result);
  if (!c.call.contains("config")) return result;
  const std::string of = c.call.value("of", "");
  if (of == "layer") {
    CheckWritten<v1::Layer>(c, WithCustom(&ImportLayer), &ExportLayer, &result);
  } else if (of == "loss") {
    CheckWritten<v1::Loss>(c, WithCustom(&ImportLoss), &ExportLoss, &result);
  } else if (of == "optimizer") {
    CheckWritten<v1::Optimizer>(c, &ImportOptimizer, &ExportOptimizer, &result);
  } else {
    result.Fail(absl::StrCat("call.of: unknown, ", of));
  }
  return result;
}

}  // namespace strata::parity
