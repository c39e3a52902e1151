// PyTorch's CrossEntropyLoss and NLLLoss: classes on axis 1 (axis 0 without a batch), a target of class indices or, for
// the former, probabilities.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/loss.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

struct ClassOptions {
  const v1::Doubles* weight;  // per class, or null
  int64_t ignore_index;
  double smoothing;
};

// Moves the class axis to the end.
Value ClassesLast(Value x) {
  if (!x || x.rank() < 3) return x;
  std::vector<int64_t> p{0};
  for (int i = 2; i < x.rank(); ++i) p.push_back(i);
  p.push_back(1);
  return Transpose(x, p);
}

Value ClassWeights(Scope& s, const ClassOptions& o, int64_t classes) {
  if (o.weight == nullptr) return {};
  if (o.weight->values_size() != classes) {
    return s.Fail(absl::StrCat("weight: must have one factor for each of the ", classes, " classes, got ",
                               o.weight->values_size()));
  }
  return Constant(s.graph(), Tensor::Of(DType::kF32, {classes},
                                        std::vector<double>(o.weight->values().begin(), o.weight->values().end())));
}

// Class indices: -w[y] log_p[y], with smoothing (1 - e) of that and e / C of the sum over classes; ignored targets
// count nothing.
LossTerms OfIndices(Scope& s, const ClassOptions& o, Value log_p, Value target) {
  const int64_t classes = log_p.dim(-1);
  Shape want = log_p.shape();
  want.pop_back();
  if (target.shape() != want) {
    s.Fail(absl::StrCat("target: must have shape ", ShapeString(want), ", got ", ShapeString(target.shape())));
    return {};
  }
  const Value weights = ClassWeights(s, o, classes);
  if (!s.ok()) return {};
  const Value valid = Not(Equal(target, Like(target, static_cast<double>(o.ignore_index))));
  const Value in_range =
      And(GreaterEqual(target, Like(target, 0)), Less(target, Like(target, static_cast<double>(classes))));
  s.Require(Or(in_range, Not(valid)), absl::StrCat("target: classes must be in [0, ", classes, ")"));
  const Value zero = Like(log_p, 0);
  Value w = Select(valid, Like(log_p, 1), Like(log_p, 0));
  if (weights) w = Select(valid, PickLast(Broadcast(weights, log_p.shape()), target), zero);
  // An ignored target may be no class at all: nothing is picked there.
  const Value picked = Select(valid, -PickLast(log_p, target), zero);
  Value values = weights ? picked * w : picked;
  if (o.smoothing > 0) {
    const Value spread = ReduceSum(weights ? log_p * weights : log_p, {-1});
    values = values * (1 - o.smoothing) + Select(valid, -spread, zero) * (o.smoothing / static_cast<double>(classes));
  }
  return {values, SumAll(Broadcast(w, values.shape()))};
}

// Probabilities: -sum w t log_p; the mean divides by the number of samples.
LossTerms OfProbabilities(Scope& s, const ClassOptions& o, Value log_p, Value target) {
  const int64_t classes = log_p.dim(-1);
  const Value weights = ClassWeights(s, o, classes);
  if (!s.ok()) return {};
  if (o.smoothing > 0) target = target * (1 - o.smoothing) + o.smoothing / static_cast<double>(classes);
  const Value terms = target * log_p;
  return {-ReduceSum(weights ? terms * weights : terms, {-1}), {}};
}

LossTerms BuildCrossEntropy(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  const auto& a = loss.cross_entropy();
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

LossTerms BuildNll(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  const auto& a = loss.negative_log_likelihood();
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

std::vector<LossComponent> PytorchClassLosses() {
  return {
      {"cross_entropy", &BuildCrossEntropy, [](const v1::Loss& l) { return l.cross_entropy().reduction(); }},
      {"negative_log_likelihood", &BuildNll, [](const v1::Loss& l) { return l.negative_log_likelihood().reduction(); }},
  };
}

}  // namespace strata::nn
