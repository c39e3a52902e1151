// The mean of a loss' values, one for each sample or each place of it; and the cross entropy that fits the shapes.
#include "engine/nn/losses/loss.h"

#include "engine/nn/metrics/mean.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

MetricTerms MeanOfLoss(Scope& s, const v1::Loss& loss, const MetricArgs& given) {
  LossArgs args{.prediction = given.prediction, .target = given.target};
  args.prediction.mask = {};
  Squeeze(&args.target, &args.prediction.value);
  if (given.prediction.value != args.prediction.value) args.prediction = args.prediction.value;
  v1::Loss function = loss;
  function.set_function_form(true);
  return MeanOf(s, BuildLoss(s, function, args), given.weight);
}

MetricTerms Build(Scope& s, const v1::Loss& a, const MetricArgs& args) { return MeanOfLoss(s, a, args); }

MetricTerms BuildCrossentropy(Scope& s, const v1::CrossentropyMetric&, const MetricArgs& args) {
  const MetricArgs lined_up = AsCompiled(s, args);
  const Value t = lined_up.target, p = args.prediction;
  v1::Loss loss;
  if (p.rank() < 1 || p.dim(-1) == 1) {
    loss.mutable_binary_crossentropy();
  } else if (t.rank() < p.rank() || t.dim(-1) == 1) {
    loss.mutable_sparse_categorical_crossentropy();
  } else {
    loss.mutable_categorical_crossentropy();
  }
  if (const absl::Status filled = Fill(v1::KERAS, "crossentropy", &loss); !filled.ok()) {
    s.Fail(std::string(filled.message()));
    return {};
  }
  return MeanOfLoss(s, loss, lined_up);
}

}  // namespace

std::vector<MetricComponent> LossMetrics() {
  return {Metric<v1::CrossentropyMetric>("crossentropy", &BuildCrossentropy), Metric<v1::Loss>("loss", &Build)};
}

}  // namespace strata::nn
