// PyTorch's logistic loss of labels -1 and 1.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

LossTerms Build(Scope& s, const v1::SoftMargin&, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  if (*BroadcastShape(args.prediction.value.shape(), args.target.shape()) != args.prediction.value.shape()) {
    s.Fail(absl::StrCat("target|input: target must broadcast to ", ShapeString(args.prediction.value.shape()), ", got ",
                        ShapeString(args.target.shape())));
    return {};
  }
  return {Softplus(-(LikePrediction(args) * args.prediction.value)), {}};
}

}  // namespace

LossComponents SoftMarginLoss() { return Loss<v1::SoftMargin>("soft_margin", &Build); }

}  // namespace strata::nn
