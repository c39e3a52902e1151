// Kinds `loss` and `metric`.
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/framework.h"
#include "engine/nn/layers/activations.h"
#include "engine/nn/layers/adaptive_log_softmax.h"
#include "engine/nn/losses/loss.h"
#include "engine/nn/metrics/metric.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"
#include "tests/parity/custom.h"
#include "tests/parity/forward.h"

namespace strata::parity {
namespace {

bool IsTarget(const std::string& name) { return name == "target" || name == "targets" || name == "y_true"; }

// {"tensor": name}
std::string TensorName(const Json& json) {
  return json.is_object() && json.contains("tensor") ? json["tensor"].get<std::string>() : "";
}

// The sums of one batch, evaluated one way.
absl::StatusOr<std::vector<double>> BatchSums(const Case& c, const v1::Metric& metric, int k, const Way& way,
                                              std::function<double(std::span<const double>)>* finish) {
  CaseGraph built(c);
  nn::Scope scope = built.MakeScope(false);
  const auto input = [&](const char* name) { return built.Input(absl::StrCat(name, ".", k)); };
  const Value target = input("y_true"), prediction = input("y_pred");
  const bool weighted = c.Find(absl::StrCat("input.sample_weight.", k)) != nullptr;
  const nn::MetricArgs args{target, prediction, weighted ? input("sample_weight") : Value{}};
  // compile() alone takes names.
  const nn::MetricTerms terms =
      nn::BuildMetric(scope, metric, c.component.is_string() ? nn::AsCompiled(scope, args) : args);
  Graph& graph = *built.graph();
  for (size_t i = 0; i < terms.sums.size() && graph.ok(); ++i) graph.MarkOutput(absl::StrCat("sum.", i), terms.sums[i]);
  if (!graph.ok()) return graph.status();
  STRATA_ASSIGN_OR_RETURN(const GraphValues values, way.run(graph, CaseInputs(c, nullptr), CaseVariables(c)));
  std::vector<double> sums;
  for (size_t i = 0; i < terms.sums.size(); ++i) {
    const std::vector<double>& part = values.outputs.at(absl::StrCat("sum.", i)).data;
    sums.insert(sums.end(), part.begin(), part.end());
  }
  *finish = terms.result;
  return sums;
}

}  // namespace

Result RunLoss(const Case& c) {
  Result result;
  auto loss = ImportLoss(c.dialect, c.ComponentText(), CustomObjects(c.dialect));
  result.Take("import", loss.status());
  if (!loss.ok()) return result;
  if (c.call.value("through_compile", false)) loss->set_function_form(false);

  CaseGraph built(c);
  nn::Scope scope = built.MakeScope(false);
  nn::LossArgs args;
  const std::vector<std::string> names = nn::ArgumentsOf(*loss);
  const std::set<std::string> arguments(names.begin(), names.end());
  for (const std::string& name : c.inputs) {
    const Value v = built.Input(name);
    if (IsTarget(name)) {
      args.target = v;
    } else if (arguments.count(name) > 0) {
      args.named[name] = v;
    } else if (!args.prediction.value) {
      args.prediction = v;
    } else {
      args.more.push_back(v);
    }
  }
  if (c.call.contains("y_pred_activation")) {
    v1::Activation activation;
    const absl::Status status = framework::SetActivation("y_pred_activation", c.call["y_pred_activation"], &activation);
    result.Take("import", status);
    result.Take("import", nn::Fill(c.dialect, "y_pred_activation", &activation));
    if (!result.passed()) return result;
    args.prediction = nn::Activate(scope, activation, args.prediction);
  }
  if (c.call.contains("y_pred_mask")) args.prediction.mask = built.Input(TensorName(c.call["y_pred_mask"]));
  if (c.call.contains("sample_weight")) args.sample_weight = built.Input(TensorName(c.call["sample_weight"]));
  const Value value = nn::BuildLoss(scope, *loss, args);
  if (loss->has_adaptive_log_softmax()) {
    // (output, loss): the targets' log-probabilities first.
    const bool alone = args.prediction.value.rank() == 1;
    const nn::AdaptiveOutputs out = nn::BuildAdaptiveLogSoftmax(
        scope, loss->adaptive_log_softmax(), alone ? ExpandDims(args.prediction, 0) : args.prediction.value);
    built.Finish({PickLast(alone ? Squeeze(out.log_prob, 0) : out.log_prob, args.target), value});
  } else {
    built.Finish({value});
  }
  RunAndCompare(c, built, &result);
  return result;
}

Result RunMetric(const Case& c) {
  Result result;
  const auto metric = ImportMetric(c.dialect, c.ComponentText(), CustomObjects(c.dialect));
  result.Take("import", metric.status());
  if (!metric.ok()) return result;
  for (const Way& way : Ways()) {
    std::vector<double> total;
    for (int k = 0; c.Find(absl::StrCat("input.y_pred.", k)) != nullptr; ++k) {
      std::function<double(std::span<const double>)> finish;
      const auto sums = BatchSums(c, *metric, k, way, &finish);
      result.Take(way.name, sums.status());
      if (!sums.ok()) return result;
      // PyTorch's metric is a function of one batch.
      if (total.empty() || c.dialect == v1::PYTORCH) total.assign(sums->size(), 0);
      for (size_t i = 0; i < sums->size(); ++i) total[i] += (*sums)[i];
      result.CompareTo(c, way.name, {{}, {finish(total)}}, absl::StrCat("output.result.", k));
      if (c.call.value("reset_after", -1) == k) total.clear();
    }
  }
  result.Check(result.compared > 0, "inputs: the case has no batch");
  return result;
}

}  // namespace strata::parity
