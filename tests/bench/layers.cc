#include "tests/bench/layers.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "engine/autodiff/gradients.h"
#include "engine/base/status.h"
#include "engine/compile.h"
#include "engine/import/framework.h"
#include "engine/nn/build.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::bench {
namespace {

constexpr char kCotangent[] = "cotangent", kRandomState[] = "random_state";

Tensor RandomTensor(DType dtype, const Shape& shape, int64_t below, std::mt19937* random) {
  Tensor t(dtype, shape);
  if (dtype == DType::kI64) {
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      t.data<int64_t>()[i] = std::uniform_int_distribution<int64_t>(0, std::max<int64_t>(below, 1) - 1)(*random);
    }
  } else {
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      t.data<float>()[i] = std::uniform_real_distribution<float>(-1, 1)(*random);
    }
  }
  return t;
}

}  // namespace

absl::StatusOr<std::vector<LayerCase>> ReadLayerCases(const std::string& path) {
  std::ifstream file(path);
  const nlohmann::json list = nlohmann::json::parse(file, nullptr, false);
  if (!list.is_array()) return InvalidArgument(path, ": must be a list of layers");
  std::vector<LayerCase> cases;
  for (const nlohmann::json& entry : list) {
    LayerCase c{entry["name"], entry["dialect"] == "keras" ? v1::KERAS : v1::PYTORCH, entry["component"].dump(), {}};
    for (const nlohmann::json& in : entry["inputs"]) {
      c.inputs.push_back(
          {in["shape"].get<Shape>(), in.contains("dtype") ? DType::kI64 : DType::kF32, in.value("below", int64_t{0})});
    }
    cases.push_back(std::move(c));
  }
  return cases;
}

absl::StatusOr<std::unique_ptr<LayerStep>> LayerStep::Create(const LayerCase& c, int threads) {
  STRATA_ASSIGN_OR_RETURN(const v1::Layer layer, ImportLayer(c.dialect, c.component));
  auto step = std::make_unique<LayerStep>();
  std::mt19937 random(1);
  std::map<std::string, Tensor> feeds;
  Graph graph;
  nn::Collected collected;
  nn::Args args;
  std::vector<Value> wrt;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const std::string name = absl::StrCat("x", i);
    const Value x = graph.AddInput(name, c.inputs[i].dtype, c.inputs[i].shape);
    feeds[name] = RandomTensor(c.inputs[i].dtype, c.inputs[i].shape, c.inputs[i].below, &random);
    if (IsFloat(x.dtype())) wrt.push_back(x);
    args.positional.push_back(x);
  }
  const Value state = graph.AddInput(kRandomState, DType::kI64, {2});
  feeds[kRandomState] = Tensor::Of<int64_t>(DType::kI64, {2}, {1, 1});
  nn::Scope root(&graph, c.dialect, true, state, &collected);
  nn::Scope scope = root.Enter("", "layer", true, std::nullopt);
  const nn::Outputs outputs = nn::BuildLayer(scope, layer, args);
  STRATA_RETURN_IF_ERROR(graph.status());
  const Value y = outputs[0].value;
  for (const nn::ParamSpec& p : collected.params) {
    if (!p.buffer) wrt.push_back(p.value);
  }
  const Value cotangents[] = {graph.AddInput(kCotangent, DType::kF32, y.shape())};
  feeds[kCotangent] = RandomTensor(DType::kF32, y.shape(), 0, &random);
  const Value pulled[] = {y};
  graph.MarkOutput("y", y);
  for (const Value& gradient : Gradients(pulled, cotangents, wrt)) {
    if (gradient) graph.MarkOutput("gradient", gradient);
  }
  for (const nn::StateUpdate& u : collected.updates) graph.Assign(u.variable, u.next);
  STRATA_ASSIGN_OR_RETURN(step->plan_, Compile(std::move(graph), {.threads = threads}));
  for (const NamedValue& in : step->plan_->graph.inputs()) {
    step->inputs_.push_back(std::move(feeds.at(in.name)));
    step->pointers_.push_back(step->inputs_.back().raw());
  }
  std::vector<void*> variables;
  for (const VariableInfo& v : step->plan_->graph.variables()) {
    step->variables_.push_back(RandomTensor(v.dtype, v.shape, 1, &random));
    variables.push_back(step->variables_.back().raw());
  }
  step->context_ = std::make_unique<Context>(step->plan_.get(), std::move(variables));
  return step;
}

void LayerStep::Run() { context_->Run(pointers_); }

}  // namespace strata::bench
