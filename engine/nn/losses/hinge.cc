// Keras' hinge and its square: the same terms. The mean over the last axis.
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Labels of 0 and 1 become -1 and 1, if there are no others.
Value Signed(Value t) {
  const Value zero = Like(t, 0), one = Like(t, 1);
  const Value binary = Or(Equal(t, zero), Equal(t, one));
  const Value all = ReduceMin(Cast(binary, t.dtype()), AllAxes(t));
  return Select(Greater(all, zero), t * 2 - 1, t);
}

Value HingeTerms(const LossArgs& args) {
  const Value margin = 1 - Signed(LikePrediction(args)) * args.prediction.value;
  return Max(margin, 0);
}

LossTerms BuildHinge(Scope& s, const v1::Hinge&, const LossArgs& args) {
  return CheckBroadcast(s, args) ? MeanOverLastAxis(HingeTerms(args)) : LossTerms{};
}

LossTerms BuildSquaredHinge(Scope& s, const v1::SquaredHinge&, const LossArgs& args) {
  return CheckBroadcast(s, args) ? MeanOverLastAxis(Square(HingeTerms(args))) : LossTerms{};
}

}  // namespace

LossComponents HingeLosses() {
  return {Loss<v1::Hinge>("hinge", &BuildHinge), Loss<v1::SquaredHinge>("squared_hinge", &BuildSquaredHinge)};
}

}  // namespace strata::nn
