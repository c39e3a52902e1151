// PyTorch's adaptive log-softmax with its loss, which owns weights.
#include "engine/nn/layers/adaptive_log_softmax.h"
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Minus the log-probability of each target.
LossTerms Build(Scope& s, const v1::AdaptiveLogSoftmax& a, const LossArgs& args) {
  const Value x = args.prediction;
  Value t = args.target;
  const bool alone = x.rank() == 1;
  if (IsFloat(t.dtype()) || t.rank() != x.rank() - 1 || (!alone && t.dim(0) != x.dim(0))) {
    s.Fail(absl::StrCat("target|input: must be one class for each row of ", ShapeString(x.shape()), ", got ",
                        DTypeName(t.dtype()), ShapeString(t.shape())));
    return {};
  }
  t = Cast(t, DType::kI64);
  const Value in_range = And(GreaterEqual(t, Like(t, 0)), Less(t, Like(t, static_cast<double>(a.n_classes()))));
  s.Require(in_range, absl::StrCat("target: classes must be in [0, ", a.n_classes(), ")"));
  const AdaptiveOutputs out = BuildAdaptiveLogSoftmax(s, a, alone ? ExpandDims(x, 0) : x);
  if (!s.ok()) return {};
  const Value picked = PickLast(out.log_prob, alone ? ExpandDims(t, 0) : t);
  return {-(alone ? Squeeze(picked, 0) : picked), {}};
}

void Declare(Scope& s, const v1::Loss& loss, const Annotated& prediction, const std::vector<Annotated>&) {
  const Value x = prediction;
  BuildAdaptiveLogSoftmax(s, loss.adaptive_log_softmax(), x.rank() == 1 ? ExpandDims(x, 0) : x);
}

}  // namespace

LossComponents AdaptiveLogSoftmaxLoss() {
  return Loss<v1::AdaptiveLogSoftmax>("adaptive_log_softmax", &Build)
      .Owns([](const v1::Loss&) { return true; }, &Declare);
}

}  // namespace strata::nn
