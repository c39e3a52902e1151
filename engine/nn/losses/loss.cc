#include "engine/nn/losses/loss.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/checkpoint_names.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {

namespace {

// Keras' class wrapper: a trailing axis of size 1 that only one of the two has goes.
void Squeeze(LossArgs* args) {
  const int difference = args->prediction.value.rank() - args->target.rank();
  if (difference == 1 && args->prediction.value.dim(-1) == 1) {
    // The logits follow their value.
    Annotated squeezed = strata::Squeeze(args->prediction.value, -1);
    if (args->prediction.logits) squeezed.logits = strata::Squeeze(args->prediction.logits, -1);
    squeezed.maker = args->prediction.maker;
    squeezed.mask = args->prediction.mask;
    args->prediction = squeezed;
  } else if (difference == -1 && args->target.dim(-1) == 1) {
    args->target = strata::Squeeze(args->target, -1);
  }
}

// A weight or mask against values: a missing last axis is added, a superfluous one of size 1 goes.
Value Align(Value weight, Value values) {
  if (weight.rank() == values.rank() + 1 && weight.dim(-1) == 1) return strata::Squeeze(weight, -1);
  while (weight.rank() > 0 && weight.rank() < values.rank()) weight = ExpandDims(weight, -1);
  return weight;
}

// Keras: values times the sample weights and the mask, which is scaled so that the mean counts valid samples only.
Value Weigh(Scope& s, Value values, const LossArgs& args, v1::Reduction reduction) {
  const auto check = [&](const char* name, Value w) {
    absl::StatusOr<Shape> joined = BroadcastShape(values.shape(), w.shape());
    if (joined.ok() && *joined == values.shape()) return true;
    s.Fail(
        absl::StrCat(name, ": must fit the losses, ", ShapeString(values.shape()), ", got ", ShapeString(w.shape())));
    return false;
  };
  if (args.sample_weight) {
    const Value w = Align(Cast(args.sample_weight, values.dtype()), values);
    if (!check("sample_weight", w)) return {s.graph(), -1};
    values = values * w;
  }
  if (args.prediction.mask) {
    Value mask = Align(Cast(args.prediction.mask, values.dtype()), values);
    if (!check("mask", mask)) return {s.graph(), -1};
    if (reduction == v1::MEAN) mask = mask * (static_cast<double>(mask.num_elements()) / SumAll(mask));
    values = values * mask;
  }
  return values;
}

Value Reduce(Value values, Value divisor, v1::Reduction reduction) {
  switch (reduction) {
    case v1::NONE:
      return values;
    case v1::SUM:
      return SumAll(values);
    case v1::BATCH_MEAN:
      return SumAll(values) * (1.0 / static_cast<double>(std::max<int64_t>(values.dim(0), 1)));
    default:
      return divisor ? SumAll(values) / divisor : MeanAll(values);
  }
}

}  // namespace

std::vector<std::string> ArgumentsOf(const v1::Loss& loss) {
  const LossComponent* component = FindLoss(loss);
  return component == nullptr ? std::vector<std::string>() : component->arguments();
}

int FurtherPredictions(const v1::Loss& loss) {
  const LossComponent* component = FindLoss(loss);
  return component == nullptr ? 0 : component->further_predictions();
}

bool OwnsWeights(const v1::Loss& loss) {
  const LossComponent* component = FindLoss(loss);
  return component != nullptr && component->owns(loss);
}

Scope ScopeOfObjective(const Scope& root, const v1::Loss& loss, int index) {
  if (!OwnsWeights(loss)) return root;
  const std::string name = absl::StrCat(index);
  return root.Enter(checkpoint::kObjectives, checkpoint::kObjectives, true, std::nullopt)
      .Enter(name, name, true, std::nullopt);
}

void DeclareWeights(Scope& s, const v1::Loss& loss, const Annotated& prediction, const std::vector<Annotated>& more) {
  if (OwnsWeights(loss)) FindLoss(loss)->declare()(s, loss, prediction, more);
}

Value LikePrediction(const LossArgs& args) { return Cast(args.target, args.prediction.value.dtype()); }

Value LogitsOf(const Annotated& prediction, bool from_logits) {
  if (prediction.maker != Annotated::Maker::kNone) return prediction.logits;
  return from_logits ? prediction.value : Value{};
}

bool CheckBroadcast(Scope& s, const LossArgs& args) {
  const Shape &p = args.prediction.value.shape(), &t = args.target.shape();
  if (BroadcastShape(p, t).ok()) return true;
  s.Fail(absl::StrCat("target|input|y_true|y_pred: shapes must fit, got ", ShapeString(t), " and ", ShapeString(p)));
  return false;
}

LossTerms MeanOverLastAxis(Value values) {
  return {values && values.rank() > 0 ? ReduceMean(values, {-1}) : values, {}};
}

namespace {

// PyTorch's predictions as the loss computes with them, and as many as it compares.
bool TakePredictions(Scope& s, const LossComponent& component, LossArgs* args) {
  std::vector<Annotated*> all{&args->prediction};
  for (Annotated& a : args->more) all.push_back(&a);
  const TypeRule rule = component.takes();
  for (Annotated* a : all) {
    const DType dtype = a->value.dtype();
    if (IsFloat(dtype)) continue;
    const Take take = dtype == DType::kBool ? rule.booleans : rule.integers;
    if (take == Take::kRefuse) {
      s.Fail(absl::StrCat("input|input1|input2|anchor|positive|negative: must be ",
                          rule.integers == Take::kRefuse ? "floating point" : "numbers", ", got ", DTypeName(dtype)));
      return false;
    }
    if (take == Take::kCast) *a = Cast(a->value, DType::kF32);
  }
  const int further = component.further_predictions();
  if (further <= 0 || static_cast<int>(args->more.size()) == further) return true;
  s.Fail(absl::StrCat("more_outputs: the loss needs ", further + 1, " predictions, got ", args->more.size() + 1));
  return false;
}

}  // namespace

Value BuildLoss(Scope& s, const v1::Loss& loss, const LossArgs& given) {
  const LossComponent* component = FindLoss(loss);
  if (component == nullptr) return s.Fail("loss.kind: must be set, got none");
  if (!s.ok() || !given.prediction.value) return {s.graph(), -1};
  if (!given.target && component->has_target()) return s.Fail("target: must be given, got nothing");
  LossArgs args = given;
  const bool keras = !s.pytorch();
  if (!keras && !TakePredictions(s, *component, &args)) return {s.graph(), -1};
  if (keras && !loss.function_form()) Squeeze(&args);
  const v1::Reduction reduction = component->reduction(loss);
  LossTerms terms = component->build()(s, loss, args);
  if (!s.ok() || !terms.values) return {s.graph(), -1};
  if (!keras) return Reduce(terms.values, terms.divisor, reduction);
  if (loss.function_form()) return terms.values;
  if (terms.valid) args.prediction.mask = args.prediction.mask ? And(args.prediction.mask, terms.valid) : terms.valid;
  return Reduce(Weigh(s, terms.values, args, reduction), {}, reduction);
}

Value BuildObjective(Scope& s, const v1::Loss& loss, const LossArgs& given) {
  LossArgs args = given;
  if (!s.pytorch()) {
    // compile() gives a flat target the prediction's trailing axis and reduces function forms by the mean over samples.
    if (args.target && args.target.rank() == 1 && args.prediction.value.rank() == 2)
      args.target = ExpandDims(args.target, -1);
    v1::Loss reduced = loss;
    reduced.set_function_form(false);
    const Value value = BuildLoss(s, reduced, args);
    return value && value.rank() > 0 ? MeanAll(value) : value;
  }
  if (!args.sample_weight) {
    const Value value = BuildLoss(s, loss, args);
    return value && value.rank() > 0 ? MeanAll(value) : value;
  }
  const LossComponent* component = FindLoss(loss);
  if (component == nullptr) return s.Fail("loss.kind: must be set, got none");
  if (!TakePredictions(s, *component, &args)) return {s.graph(), -1};
  LossTerms terms = component->build()(s, loss, args);
  if (!s.ok() || !terms.values) return {s.graph(), -1};
  Value w = Cast(args.sample_weight, terms.values.dtype());
  if (w.rank() < 1 || terms.values.rank() < 1 || w.dim(0) != terms.values.dim(0)) {
    return s.Fail(absl::StrCat("sample_weight: must have one factor per sample, got ", ShapeString(w.shape())));
  }
  while (w.rank() < terms.values.rank()) w = ExpandDims(w, -1);
  return Reduce(terms.values * w, terms.divisor,
                component->reduction(loss) == v1::NONE ? v1::MEAN : component->reduction(loss));
}

}  // namespace strata::nn
