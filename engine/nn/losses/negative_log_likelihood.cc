// PyTorch's NLLLoss of log-probabilities and class indices.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/class_indices.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

LossTerms Build(Scope& s, const v1::NegativeLogLikelihood& a, const LossArgs& args) {
  const ClassOptions o{a.has_weight() ? &a.weight() : nullptr, a.ignore_index(), 0};
  if (IsFloat(args.target.dtype()) || args.target.dtype() == DType::kBool || args.prediction.value.rank() < 1) {
    s.Fail(absl::StrCat("target|input: must be class indices for scores, got ", DTypeName(args.target.dtype()),
                        ShapeString(args.target.shape()), " for ", ShapeString(args.prediction.value.shape())));
    return {};
  }
  return OfIndices(s, o, ClassesLast(args.prediction),
                   args.target.dtype() == DType::kI64 ? args.target : Cast(args.target, DType::kI32));
}

}  // namespace

LossComponents NegativeLogLikelihoodLoss() {
  return Loss<v1::NegativeLogLikelihood>("negative_log_likelihood", &Build);
}

}  // namespace strata::nn
