// PyTorch's CrossEntropyLoss: targets are class indices or probabilities.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/class_indices.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Probabilities: -sum w t log_p; the mean divides by the number of samples.
LossTerms OfProbabilities(Scope& s, const ClassOptions& o, Value log_p, Value target) {
  const int64_t classes = log_p.dim(-1);
  const Value weights = ClassWeights(s, o.weight, classes);
  if (!s.ok()) return {};
  if (o.smoothing > 0) target = target * (1 - o.smoothing) + o.smoothing / static_cast<double>(classes);
  const Value terms = target * log_p;
  return {-ReduceSum(weights ? terms * weights : terms, {-1}), {}};
}

LossTerms Build(Scope& s, const v1::CrossEntropy& a, const LossArgs& args) {
  const ClassOptions o{a.has_weight() ? &a.weight() : nullptr, a.ignore_index(), a.label_smoothing()};
  const Value x = args.prediction.value;
  if (x.rank() < 1) {
    s.Fail("input: must have an axis of classes, got none");
    return {};
  }
  const Value log_p = LogSoftmax(ClassesLast(x), -1);
  if (IsFloat(args.target.dtype())) {
    if (args.target.shape() != x.shape()) {
      s.Fail(absl::StrCat("target: probabilities must have the input's shape ", ShapeString(x.shape()), ", got ",
                          ShapeString(args.target.shape())));
      return {};
    }
    return OfProbabilities(s, o, log_p, ClassesLast(LikePrediction(args)));
  }
  if (args.target.dtype() == DType::kBool) {
    s.Fail("target: must be class indices or probabilities, got BOOL");
    return {};
  }
  return OfIndices(s, o, log_p, args.target.dtype() == DType::kI64 ? args.target : Cast(args.target, DType::kI32));
}

}  // namespace

LossComponents CrossEntropyLoss() { return Loss<v1::CrossEntropy>("cross_entropy", &Build); }

}  // namespace strata::nn
