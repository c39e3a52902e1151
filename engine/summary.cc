#include "engine/summary.h"

#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/chain.h"
#include "engine/convert/convert.h"
#include "engine/features.h"
#include "engine/import/call_shapes.h"
#include "engine/inspect.h"
#include "engine/nn/complete.h"
#include "engine/nn/schema.h"
#include "engine/staged.h"

namespace strata {
absl::StatusOr<SummaryTable> MakeTable(const v1::Model& given) {
  SummaryTable table;
  STRATA_ASSIGN_OR_RETURN(table.model, Complete(given));
  STRATA_ASSIGN_OR_RETURN(const FeatureStage stage, FeatureStage::Create(table.model));
  STRATA_ASSIGN_OR_RETURN(const Ports ports, PortsOf(stage.model()));
  table.inputs = RawPorts(table.model);
  STRATA_ASSIGN_OR_RETURN(std::vector<framework::CallShapes> shapes,
                          framework::InferCallShapes(table.model, framework::DeclaredShapes(table.model)));
  std::set<std::string> counted;
  const std::string separator(1, nn::PathSeparator(table.model.dialect()));
  for (int i = 0; i < table.model.calls_size(); ++i) {
    const v1::Call& call = table.model.calls(i);
    SummaryRow row{nullptr, &call, std::move(shapes[i].args), std::move(shapes[i].outputs), 0};
    for (const v1::Layer& layer : table.model.layers()) {
      if (layer.name() == call.layer()) row.layer = &layer;
    }
    if (counted.insert(call.layer()).second) {
      for (const nn::ParamSpec& p : ports.params) {
        if (absl::StartsWith(p.name, call.layer() + separator)) row.num_parameters += NumElements(p.shape);
      }
    }
    table.rows.push_back(std::move(row));
  }
  for (const nn::ParamSpec& p : ports.params) {
    // PyTorch counts parameters only, Keras buffers too.
    if (p.buffer && table.model.dialect() == v1::PYTORCH) continue;
    table.total += NumElements(p.shape);
    if (p.trainable) table.trainable += NumElements(p.shape);
  }
  return table;
}

std::string ClassName(const v1::Layer& layer, v1::Dialect dialect) {
  if (layer.has_model()) return dialect == v1::KERAS && !IsSequential(layer.model()) ? "Functional" : "Sequential";
  if (layer.has_custom()) return layer.custom().definition().name();
  const auto* kind = nn::KindOf(layer);
  const v1::ComponentSchema& schema = nn::SchemaOfComponent(kind);
  const auto& names = dialect == v1::KERAS ? schema.keras() : schema.pytorch();
  return names.empty() ? kind->name() : names[0];
}

v1::Model Inner(const SummaryTable& table, const SummaryRow& row) {
  v1::Model model = row.layer->model();
  model.set_dialect(table.model.dialect());
  for (int i = 0; i < model.inputs_size() && i < static_cast<int>(row.args.size()); ++i) {
    v1::Input& input = *model.mutable_inputs(i);
    if (!input.shape().empty()) continue;
    const size_t lead = !input.has_batched() || input.batched() ? 1 : 0;
    for (size_t d = lead; d < row.args[i].size(); ++d) input.add_shape(row.args[i][d]);
  }
  return model;
}

namespace {

// 1234567 as "1,234,567".
std::string Grouped(int64_t count) {
  const std::string digits = absl::StrCat(count);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

int64_t ElementsOf(const Shape& shape) {
  int64_t count = 1;
  for (int64_t d : shape) count *= d == -1 ? 1 : d;
  return count;
}

// Modules that run, in their order: containers are none.
absl::Status AppendModules(const SummaryTable& t, int64_t* index, int64_t* elements, std::string* out) {
  for (const SummaryRow& row : t.rows) {
    if (row.layer->has_model()) {
      STRATA_ASSIGN_OR_RETURN(const SummaryTable inner, MakeTable(Inner(t, row)));
      STRATA_RETURN_IF_ERROR(AppendModules(inner, index, elements, out));
      continue;
    }
    const Shape& shape = row.outputs[0];
    absl::StrAppendFormat(out, "%20s  %25s %15s\n", absl::StrCat(ClassName(*row.layer, v1::PYTORCH), "-", ++*index),
                          absl::StrCat("[", absl::StrJoin(shape, ", "), "]"), Grouped(row.num_parameters));
    *elements += ElementsOf(shape);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> TorchkerasTable(const SummaryTable& t) {
  const std::string rule(64, '-'), line(64, '=');
  std::string out = absl::StrCat(rule, "\n");
  absl::StrAppendFormat(&out, "%20s  %25s %15s\n%s\n", "Layer (type)", "Output Shape", "Param #", line);
  int64_t forward = 0, index = 0, input = 0;
  STRATA_RETURN_IF_ERROR(AppendModules(t, &index, &forward, &out));
  for (const PortSpec& in : t.inputs) input += ElementsOf(in.shape);
  const double mb = 4.0 / (1 << 20);
  const double input_mb = static_cast<double>(input) * mb, forward_mb = 2 * static_cast<double>(forward) * mb,
               params_mb = static_cast<double>(t.total) * mb;
  absl::StrAppendFormat(&out, "%s\nTotal params: %s\nTrainable params: %s\nNon-trainable params: %s\n%s\n", line,
                        Grouped(t.total), Grouped(t.trainable), Grouped(t.total - t.trainable), rule);
  absl::StrAppendFormat(&out,
                        "Input size (MB): %f\nForward/backward pass size (MB): %f\nParams size (MB): %f\nEstimated "
                        "Total Size (MB): %f\n%s\n",
                        input_mb, forward_mb, params_mb, input_mb + forward_mb + params_mb, rule);
  return out;
}

namespace {

// Sizes that a definition leaves open and its input decides, as PyTorch prints them: from the parameters' shapes.
void FillInputSizes(const std::map<std::string, Shape>& params, const std::string& prefix, v1::Model* model) {
  for (v1::Layer& layer : *model->mutable_layers()) {
    const std::string path = prefix + layer.name() + ".";
    const auto size = [&](const char* name, size_t axis) -> int64_t {
      const auto it = params.find(path + name);
      return it == params.end() || axis >= it->second.size() ? 0 : it->second[axis];
    };
    if (layer.has_model()) {
      FillInputSizes(params, path, layer.mutable_model());
      continue;
    }
    const auto* kind = nn::KindOf(layer);
    if (kind == nullptr) continue;
    google::protobuf::Message* attrs = layer.GetReflection()->MutableMessage(&layer, kind);
    const auto set = [&](const char* field, int64_t value) {
      const auto* f = attrs->GetDescriptor()->FindFieldByName(field);
      if (f != nullptr && value > 0 && !attrs->GetReflection()->HasField(*attrs, f))
        attrs->GetReflection()->SetInt64(attrs, f, value);
    };
    if (auto* conv = google::protobuf::DynamicCastToGenerated<v1::Conv>(attrs)) {
      set("in_channels", size("weight", 1) * conv->groups());
    }
    if (google::protobuf::DynamicCastToGenerated<v1::ConvTranspose>(attrs) != nullptr) {
      set("in_channels", size("weight", 0));
    }
    set("in_features", size("weight", 1));
    set("num_features", std::max(size("running_mean", 0), size("weight", 0)));
    set("num_channels", size("weight", 0));
    set("input_size", std::max(size("weight_ih_l0", 1), size("weight_ih", 1)));
  }
}

}  // namespace

absl::StatusOr<v1::Model> WithInputSizes(const v1::Model& given) {
  STRATA_ASSIGN_OR_RETURN(v1::Model model, Complete(given));
  STRATA_ASSIGN_OR_RETURN(const Ports ports, PortsOf(model));
  std::map<std::string, Shape> params;
  for (const nn::ParamSpec& p : ports.params) params[p.name] = p.shape;
  FillInputSizes(params, "", &model);
  return model;
}

absl::StatusOr<std::string> Summarize(const v1::Model& model, const SummaryOptions& options) {
  const std::string& style = options.style;
  if (style != "keras") {
    const char* field = options.line_length != 0     ? "line_length"
                        : !options.positions.empty() ? "positions"
                        : options.expand_nested      ? "expand_nested"
                        : options.show_trainable     ? "show_trainable"
                                                     : nullptr;
    if (field != nullptr) return InvalidArgument(field, ": must be absent for a style other than keras, got one");
  }
  if (style == "pytorch") {
    v1::Model printed = model;
    if (model.dialect() == v1::KERAS) {
      absl::StatusOr<Conversion> conversion = ConvertModel(model, v1::PYTORCH);
      if (!conversion.ok()) {
        return InvalidArgument("style: must be one that the model's components have, got pytorch: ",
                               std::string(conversion.status().message()));
      }
      printed = std::move(conversion->model);
    }
    STRATA_ASSIGN_OR_RETURN(const v1::Model complete, WithInputSizes(printed));
    return PrintPytorch(complete) + "\n";
  }
  STRATA_ASSIGN_OR_RETURN(const SummaryTable table, MakeTable(model));
  if (style == "keras") return KerasTable(table, options);
  if (style == "torchkeras") return TorchkerasTable(table);
  return InvalidArgument("style: must be keras, torchkeras or pytorch, got ", style);
}

}  // namespace strata
