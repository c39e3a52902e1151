// Kinds `layer` and `model`.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/features.h"
#include "engine/import/framework.h"
#include "engine/nn/build.h"
#include "engine/nn/complete.h"
#include "engine/nn/component.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"
#include "engine/session.h"
#include "tests/parity/custom.h"
#include "tests/parity/facts.h"
#include "tests/parity/forward.h"

namespace strata::parity {
namespace {

// The name of a tensor in {"tensor": name}.
std::string TensorName(const Json& json) {
  return json.is_object() && json.contains("tensor") ? json["tensor"].get<std::string>() : "";
}

// Names of the positional arguments of layers whose inputs are keyword arguments of forward; empty: all are positional.
std::vector<std::string> PositionalNames(const v1::Layer& layer) {
  switch (layer.kind_case()) {
    case v1::Layer::kMultiheadAttention:
      return {"query", "key", "value"};
    case v1::Layer::kTransformer:
      return {"src", "tgt"};
    case v1::Layer::kTransformerEncoder:
    case v1::Layer::kTransformerEncoderLayer:
      return {"src"};
    case v1::Layer::kTransformerDecoder:
    case v1::Layer::kTransformerDecoderLayer:
      return {"tgt", "memory"};
    default:
      return {};
  }
}

}  // namespace

absl::Status SetCallAttributes(const Case& c, v1::Layer* layer) {
  google::protobuf::Message* attrs = layer->GetReflection()->MutableMessage(layer, nn::KindOf(*layer));
  for (const char* key :
       {"use_causal_mask", "return_attention_scores", "is_causal", "average_attn_weights", "need_weights"}) {
    if (!c.call.contains(key)) continue;
    const auto* field = attrs->GetDescriptor()->FindFieldByName(key);
    if (field == nullptr && std::string(key) == "use_causal_mask")
      field = attrs->GetDescriptor()->FindFieldByName("causal");
    if (field == nullptr)
      return absl::UnimplementedError(absl::StrCat("call.", key, ": the layer has no such argument"));
    attrs->GetReflection()->SetBool(attrs, field, c.call[key].get<bool>());
  }
  return absl::OkStatus();
}

nn::Args ArgsOf(const Case& c, const v1::Layer& layer, CaseGraph* built) {
  nn::Args args;
  const std::vector<std::string> positional = PositionalNames(layer);
  for (const std::string& name : c.inputs) {
    if (name.empty()) continue;
    const bool named = !positional.empty() && std::find(positional.begin(), positional.end(), name) == positional.end();
    if (named) {
      args.named[name] = built->Input(name);
    } else {
      args.positional.push_back(built->Input(name));
    }
  }
  if (c.call.contains("initial_state")) {
    for (const Json& state : c.call["initial_state"]) args.positional.push_back(built->Input(TensorName(state)));
  }
  if (c.call.contains("attention_mask"))
    args.named["attention_mask"] = built->Input(TensorName(c.call["attention_mask"]));
  if (c.call.contains("mask")) {
    // One mask, or one (or null) for each input.
    const Json& mask = c.call["mask"];
    for (size_t i = 0; mask.is_array() && i < mask.size() && i < args.positional.size(); ++i) {
      if (!mask[i].is_null()) args.positional[i].mask = built->Input(TensorName(mask[i]));
    }
    if (!mask.is_array()) {
      const Value value = built->Input(TensorName(mask));
      args.named["mask"] = value;
      if (!args.positional.empty()) args.positional[0].mask = value;
    }
  }
  return args;
}

namespace {

// Texts stand in the JSON, everything else is a tensor.
Features FeaturesOf(const Case& c) {
  Features features;
  for (const std::string& name : c.inputs) {
    Feature& feature = features[name];
    if (const Tensor* t = c.Find("input." + name); t != nullptr) {
      feature.shape = t->shape();
      feature.numbers = t->view();
      continue;
    }
    const Json& rows = c.call["strings"][name];
    feature.is_text = true;
    feature.shape = {static_cast<int64_t>(rows.size()), 0};
    for (const Json& row : rows) {
      feature.shape[1] = static_cast<int64_t>(row.size());
      for (const Json& text : row) feature.texts.push_back(text.get_ref<const std::string&>());
    }
  }
  return features;
}

// Passes the case's features through the input stage: the layer takes one argument for each column.
absl::StatusOr<nn::Args> StagedArgs(const Case& c, CaseGraph* built, v1::Layer* layer) {
  v1::Model model;
  model.set_dialect(c.dialect);
  for (const std::string& name : c.inputs) {
    v1::Input* input = model.add_inputs();
    input->set_name(name);
    input->add_shape(-1);
    if (c.Find("input." + name) == nullptr) input->set_dtype(v1::BYTES);
  }
  *model.add_layers() = *layer;
  STRATA_ASSIGN_OR_RETURN(model, Complete(model));
  STRATA_ASSIGN_OR_RETURN(const FeatureStage stage, FeatureStage::Create(model));
  STRATA_ASSIGN_OR_RETURN(const NamedTensors ids, stage.Apply(FeaturesOf(c)));
  *layer->mutable_dense_features() = stage.model().layers(0).dense_features();
  nn::Args args;
  for (const v1::Edge& edge : stage.model().calls(0).args()) {
    const auto it = ids.find(edge.call());
    args.positional.push_back(it == ids.end() ? built->Input(edge.call())
                                              : Constant(built->graph(), it->second.Clone()));
  }
  return args;
}

std::vector<Value> Plain(const nn::Outputs& outputs) {
  std::vector<Value> values;
  for (const nn::Annotated& o : outputs) values.push_back(o.value);
  return values;
}

// The dropout family: every element is kept or dropped, by a mask that is constant along axes of size 1.
void CheckStatistics(const Case& c, const Json& s, const RefTensor& y, const std::string& way, std::vector<bool>* mask,
                     Result* result) {
  const Tensor& x = *c.Find("input." + c.inputs[0]);
  const double scale = s["scale"], shift = s["shift"], dropped = s["dropped_value"];
  const Shape mask_shape = s["mask_shape"].get<Shape>();
  result->Check(y.shape == x.shape(), absl::StrCat(way, ": output shape ", ShapeString(y.shape)));
  if (!result->passed()) return;
  const Shape strides = Strides(mask_shape);
  std::vector<int> cell(NumElements(mask_shape), -1);
  ForEachIndex(y.shape, [&](int64_t i, const std::vector<int64_t>& at) {
    int64_t m = 0;
    const size_t lead = at.size() - mask_shape.size();
    for (size_t d = 0; d < mask_shape.size(); ++d) m += mask_shape[d] == 1 ? 0 : at[lead + d] * strides[d];
    const double kept_value = scale * x.At(i) + shift;
    const double tolerance = c.atol + c.rtol * std::abs(kept_value);
    const bool kept = std::abs(y.data[i] - kept_value) <= tolerance;
    const bool lost = std::abs(y.data[i] - dropped) <= c.atol;
    if (!kept && !lost) result->Fail(absl::StrCat(way, ": element ", i, " is neither kept nor dropped: ", y.data[i]));
    if (kept && lost) return;  // says nothing
    if (cell[m] >= 0 && cell[m] != kept) result->Fail(absl::StrCat(way, ": mask cell ", m, " is not constant"));
    cell[m] = kept;
  });
  double kept = 0, known = 0;
  for (int v : cell) {
    kept += v == 1;
    known += v >= 0;
    mask->push_back(v == 1);
  }
  const double want = s["keep_fraction"], tolerance = s["keep_fraction_tolerance"];
  result->Check(known > 0 && std::abs(kept / known - want) <= tolerance,
                absl::StrCat(way, ": kept ", kept / known, " of the mask, wanted ", want));
}

void RunStatistics(const Case& c, CaseGraph& built, const nn::Outputs& outputs, Result* result) {
  if (built.graph()->ok()) built.graph()->MarkOutput("output", outputs[0]);
  if (!built.graph()->ok()) return result->Take("build", built.graph()->status());
  for (const Way& way : Ways()) {
    std::vector<bool> masks[2];
    for (int draw = 0; draw < 2; ++draw) {
      const Tensor random = RandomState(7, draw + 1);
      const auto values = way.run(*built.graph(), CaseInputs(c, &random), CaseVariables(c));
      if (!values.ok()) return result->Take(way.name, values.status());
      CheckStatistics(c, c.call["statistics"], values->outputs.at("output"), way.name, &masks[draw], result);
    }
    result->Check(masks[0] != masks[1], absl::StrCat(way.name, ": two draws are equal"));
  }
}

// Prediction in batches: the same numbers, whatever the size of a batch.
void ComparePredictions(const Case& c, const v1::Model& model, int64_t batch_size, Result* result) {
  const int64_t rows = c.Find("input." + c.inputs[0])->dim(0);
  std::map<std::string, std::vector<double>> got;
  for (int64_t begin = 0; begin < rows; begin += batch_size) {
    const int64_t count = std::min(batch_size, rows - begin);
    Graph graph;
    nn::Collected collected;
    nn::Scope scope(&graph, c.dialect, false, {}, &collected);
    NamedTensors batch;
    std::vector<nn::Annotated> inputs;
    for (const std::string& name : c.inputs) {
      const Tensor& whole = *c.Find("input." + name);
      Shape shape = whole.shape();
      shape[0] = count;
      const size_t row_bytes = whole.size_bytes() / static_cast<size_t>(rows);
      batch[name] = Tensor::CopyOf({whole.dtype(), shape, static_cast<const char*>(whole.raw()) + begin * row_bytes});
      inputs.push_back(graph.AddInput(name, whole.dtype(), shape));
    }
    const nn::Outputs outputs = nn::BuildModel(scope, model, inputs);
    if (!graph.ok()) return result->Take("predict", graph.status());
    for (size_t i = 0; i < outputs.size(); ++i) graph.MarkOutput(model.outputs(static_cast<int>(i)).name(), outputs[i]);
    const auto values = RunOptimized(
        graph, [&](const std::string& name) { return &batch[name]; }, CaseVariables(c));
    if (!values.ok()) return result->Take("predict", values.status());
    for (const auto& [name, value] : values->outputs) {
      got[name].insert(got[name].end(), value.data.begin(), value.data.end());
    }
  }
  for (auto& [name, data] : got) {
    const Tensor* want = c.Find("output.predict." + name);
    result->Check(want != nullptr, absl::StrCat("output.predict.", name, ": not in the case"));
    if (want != nullptr) result->Compare(c, "predict " + name, {want->shape(), data}, *want);
  }
}

}  // namespace

Result RunLayer(const Case& c) {
  Result result;
  for (const auto& [key, value] : c.call.items()) {
    if (key != "attention_mask" && key != "use_causal_mask" && key != "return_attention_scores" && key != "is_causal" &&
        key != "average_attn_weights" && key != "need_weights" && key != "mask" && key != "initial_state" &&
        key != "compute_mask" && key != "as_list" && key != "trainable" && key != "statistics" && key != "strings" &&
        key != "method") {
      result.Unsupported(absl::StrCat("call.", key, ": no layer of this milestone takes it"));
      return result;
    }
  }
  auto layer = ImportLayer(c.dialect, c.ComponentText(), CustomObjects(c.dialect));
  result.Take("import", layer.status());
  if (!layer.ok()) return result;
  const auto* kind = nn::KindOf(*layer);
  if (nn::FindLayer(kind->name()) == nullptr) {
    result.Unsupported(absl::StrCat("build: no layer ", kind->name()));
    return result;
  }
  const bool as_list = c.inputs.size() > 1 || c.call.value("as_list", false);
  if (c.dialect == v1::KERAS) result.Take("call", CheckCallForm(*layer, as_list));
  if (!result.passed()) return result;
  CaseGraph built(c);
  nn::Scope root = built.MakeScope(c.train);
  const bool trainable = c.call.value("trainable", true);
  if (!trainable) layer->set_trainable(false);
  nn::Scope scope = root.Enter("", "layer", trainable, std::nullopt);
  result.Take("call", SetCallAttributes(c, &*layer));
  if (!result.passed()) return result;
  nn::Args args;
  if (layer->has_dense_features()) {
    auto staged = StagedArgs(c, &built, &*layer);
    result.Take("features", staged.status());
    if (!staged.ok()) return result;
    args = *std::move(staged);
  } else {
    args = ArgsOf(c, *layer, &built);
  }
  const nn::Outputs outputs = nn::BuildLayer(scope, *layer, args);
  if (c.call.contains("statistics")) {
    RunStatistics(c, built, outputs, &result);
    return result;
  }
  std::vector<Value> values = Plain(outputs);
  if (c.call.contains("method")) {
    // A method is one of the layer's outputs.
    const std::string method = c.call["method"];
    if (!layer->has_adaptive_log_softmax() || (method != "log_prob" && method != "predict")) {
      result.Unsupported(absl::StrCat("call.method: the layer has no output ", method));
      return result;
    }
    if (values.size() == 2) values = {values[method == "log_prob" ? 0 : 1]};
  }
  if (c.call.value("compute_mask", false) && !outputs.empty()) values.push_back(outputs[0].mask);
  built.Finish(values);
  RunAndCompare(c, built, &result);
  return result;
}

Result RunModel(const Case& c) {
  Result result;
  if (c.call.contains("strings") || c.call.contains("method")) {
    result.Unsupported("call: no model of this milestone takes strings or another method");
    return result;
  }
  const auto imported = ModelOf(c, c.component, c.inputs);
  result.Take("import", imported.status());
  if (!imported.ok()) return result;
  const auto model = Complete(*imported);
  result.Take("complete", model.status());
  if (!model.ok()) return result;
  CaseGraph built(c);
  nn::Scope scope = built.MakeScope(c.train);
  std::vector<nn::Annotated> inputs;
  for (const std::string& name : c.inputs) inputs.push_back(built.Input(name));
  result.Check(static_cast<int>(inputs.size()) == model->inputs_size(), "inputs: another number than the model's");
  if (!result.passed()) return result;
  std::vector<Value> values = Plain(nn::BuildModel(scope, *model, inputs));
  built.Finish(values);
  RunAndCompare(c, built, &result);
  if (result.passed() && c.call.contains("predict_batch_size")) {
    ComparePredictions(c, *model, c.call["predict_batch_size"], &result);
  }
  if (result.passed()) CheckModelFacts(c, *model, built.collected(), &result);
  if (result.passed()) CheckModelText(c, &result);
  return result;
}

}  // namespace strata::parity
