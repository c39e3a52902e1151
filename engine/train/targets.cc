#include "engine/train/targets.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/nn/losses/loss.h"
#include "engine/nn/metrics/metric.h"

namespace strata {
namespace {

// One use of a target: an objective's or a metric's.
struct Use {
  const v1::Objective* objective = nullptr;
  const v1::NamedMetric* metric = nullptr;
  const PortSpec* prediction = nullptr;
  std::vector<const PortSpec*> more;

  bool own() const { return objective != nullptr ? objective->loss().has_custom() : metric->metric().has_custom(); }
};

// Lengths of sequences, one for each in the batch of log-probabilities (T, N, C), or one of (T, C).
PortSpec LengthOf(const std::string& name, const Shape& prediction) {
  return {name, DType::kI64, prediction.size() == 3 ? Shape{prediction[1]} : Shape{}};
}

std::vector<PortSpec> Candidates(const std::string& name, v1::Dialect dialect, const Use& use) {
  const Shape& p = use.prediction->shape;
  Shape classes = p;
  if (classes.size() > 1) classes.erase(dialect == v1::PYTORCH ? classes.begin() + 1 : classes.end() - 1);
  std::vector<PortSpec> all = {{name, DType::kF32, p}, {name, DType::kI64, classes}, {name, DType::kI64, p}};
  if (!p.empty()) all.push_back({name, DType::kF32, {p[0]}});
  if (use.objective != nullptr && use.objective->loss().has_ctc()) {
    all = {{name, DType::kI64, p.size() == 3 ? Shape{p[1], 1} : Shape{1}}};
  }
  return all;
}

bool Takes(v1::Dialect dialect, const Use& use, const PortSpec& target) {
  Graph graph;
  nn::Collected collected;
  nn::Scope scope(&graph, dialect, false, {}, &collected);
  const auto input = [&](const PortSpec& port) { return graph.AddInput(port.name, port.dtype, port.shape); };
  const Value prediction = input(*use.prediction), truth = input(target);
  if (use.metric != nullptr) {
    nn::BuildMetric(scope, use.metric->metric(), nn::AsCompiled(scope, {truth, prediction}));
    return graph.ok();
  }
  nn::LossArgs args;
  args.prediction = prediction;
  args.target = truth;
  for (const PortSpec* further : use.more) args.more.push_back(input(*further));
  for (const std::string& name : nn::ArgumentsOf(use.objective->loss())) {
    args.named[name] = input(LengthOf(name, use.prediction->shape));
  }
  nn::BuildObjective(scope, use.objective->loss(), args);
  return graph.ok();
}

}  // namespace

LikelyBatch GuessBatch(const v1::Model& model, const v1::TrainingConfig& config, const Signature& inputs,
                       const std::vector<PortSpec>& outputs, int64_t samples) {
  LikelyBatch batch{inputs, true};
  const auto known = [&](const std::string& name) {
    return std::any_of(batch.signature.begin(), batch.signature.end(),
                       [&](const PortSpec& p) { return p.name == name; });
  };
  const auto output = [&](const std::string& name, std::optional<int> position) -> const PortSpec* {
    const auto index = FindOutput("", model, name, position);
    return index.ok() ? &outputs[static_cast<size_t>(*index)] : nullptr;
  };
  std::map<std::string, std::vector<Use>> uses;
  for (int i = 0; i < config.objectives_size(); ++i) {
    const v1::Objective& o = config.objectives(i);
    Use use{.objective = &o, .prediction = output(o.output(), i)};
    if (use.prediction == nullptr) continue;
    for (const std::string& name : o.more_outputs()) {
      if (const PortSpec* further = output(name, std::nullopt); further != nullptr) use.more.push_back(further);
    }
    for (const std::string& name : nn::ArgumentsOf(o.loss())) {
      const std::string tensor = ArgumentTensor(o, name);
      if (!known(tensor)) batch.signature.push_back(LengthOf(tensor, use.prediction->shape));
    }
    if (!o.sample_weight().empty() && !known(o.sample_weight())) {
      batch.signature.push_back({o.sample_weight(), DType::kF32, {samples}});
    }
    if (!o.loss().has_triplet_margin()) uses[o.target().empty() ? DefaultTarget(i) : o.target()].push_back(use);
  }
  for (const v1::NamedMetric& m : config.metrics()) {
    if (!m.sample_weight().empty() && !known(m.sample_weight())) {
      batch.signature.push_back({m.sample_weight(), DType::kF32, {samples}});
    }
    const MetricPlace place = PlaceOf(m, config);
    Use use{.metric = &m, .prediction = output(place.output, 0)};
    if (use.prediction != nullptr) uses[place.target].push_back(use);
  }
  for (const auto& entry : uses) {
    const std::string& name = entry.first;
    const std::vector<Use>& all = entry.second;  // lambdas capture it
    if (known(name)) continue;
    const std::vector<PortSpec> candidates = Candidates(name, model.dialect(), all[0]);
    const auto fits = std::find_if(candidates.begin(), candidates.end(), [&](const PortSpec& target) {
      return std::all_of(all.begin(), all.end(), [&](const Use& u) { return Takes(model.dialect(), u, target); });
    });
    const bool own = std::any_of(all.begin(), all.end(), [](const Use& u) { return u.own(); });
    if (fits == candidates.end() && own) batch.certain = false;
    batch.signature.push_back(fits == candidates.end() ? candidates[0] : *fits);
  }
  return batch;
}

}  // namespace strata
