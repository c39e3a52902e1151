// PyTorch's binary cross entropy of logits, averaged over classes.
#include "engine/nn/losses/class_indices.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// -mean over classes of w (t ln s(x) + (1 - t) ln s(-x)).
LossTerms Build(Scope& s, const v1::MultiLabelSoftMargin& a, const LossArgs& args) {
  const Value x = args.prediction;
  if (x.rank() < 1) {
    s.Fail("input: must have an axis of classes, got none");
    return {};
  }
  if (!CheckBroadcast(s, args)) return {};
  const Value t = LikePrediction(args);
  Value values = t * Softplus(-x) + (1 - t) * Softplus(x);
  // One factor stands for all classes.
  const bool one = a.weight().values_size() == 1;
  const Value w = ClassWeights(s, a.has_weight() ? &a.weight() : nullptr, one ? 1 : values.dim(-1));
  if (!s.ok()) return {};
  if (w) values = values * w;
  // The classes are those of the prediction's last axis, also where the target has more axes.
  return {ReduceSum(values, {x.rank() - 1}) * (1.0 / static_cast<double>(x.dim(-1))), {}};
}

}  // namespace

LossComponents MultiLabelSoftMarginLoss() { return Loss<v1::MultiLabelSoftMargin>("multi_label_soft_margin", &Build); }

}  // namespace strata::nn
