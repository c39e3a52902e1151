// Layers that fold their inputs with one operation, element by element: one body, so they stand together.
#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

// Keras lines up operands of different rank behind the batch axis: (N, 3) with (N, 2, 3) is (N, 1, 3) with (N, 2, 3).
bool Align(Scope& s, std::vector<Value>* xs) {
  int rank = 0;
  for (Value x : *xs) rank = std::max(rank, x.rank());
  for (Value& x : *xs) {
    while (x && x.rank() < rank && x.rank() > 0) x = ExpandDims(x, 1);
  }
  Shape shape = (*xs)[0].shape();
  for (Value x : *xs) {
    absl::StatusOr<Shape> joined = BroadcastShape(shape, x.shape());
    if (!joined.ok()) {
      s.Fail(absl::StrCat("inputs: ", std::string(joined.status().message())));
      return false;
    }
    shape = *std::move(joined);
  }
  return true;
}

// The mask of a merge is the conjunction of the masks that exist.
Value JoinMasks(const Args& args) {
  Value mask;
  for (const Annotated& a : args.positional) {
    if (a.mask) mask = mask ? And(mask, a.mask) : a.mask;
  }
  return mask;
}

template <typename M, typename F>
Outputs Fold(Scope& s, const Args& args, F f) {
  std::vector<Value> xs;
  for (const Annotated& a : args.positional) xs.push_back(a.value);
  if (!Align(s, &xs)) return {Value{s.graph(), -1}};
  Value y = xs[0];
  for (size_t i = 1; i < xs.size(); ++i) y = f(y, xs[i]);
  if constexpr (std::is_same_v<M, v1::Average>) y = y / static_cast<double>(xs.size());
  Annotated out = y;
  out.mask = JoinMasks(args);
  return {out};
}

Outputs BuildAdd(Scope& s, const v1::Add&, const Args& args) {
  return Fold<v1::Add>(s, args, [](Value a, Value b) { return a + b; });
}
Outputs BuildSubtract(Scope& s, const v1::Subtract&, const Args& args) {
  return Fold<v1::Subtract>(s, args, [](Value a, Value b) { return a - b; });
}
Outputs BuildMultiply(Scope& s, const v1::Multiply&, const Args& args) {
  return Fold<v1::Multiply>(s, args, [](Value a, Value b) { return a * b; });
}
Outputs BuildAverage(Scope& s, const v1::Average&, const Args& args) {
  return Fold<v1::Average>(s, args, [](Value a, Value b) { return a + b; });
}
// Ties: the whole gradient goes to the accumulated left operand.
Outputs BuildMaximum(Scope& s, const v1::Maximum&, const Args& args) {
  return Fold<v1::Maximum>(s, args, [](Value a, Value b) { return Max(a, b); });
}
Outputs BuildMinimum(Scope& s, const v1::Minimum&, const Args& args) {
  return Fold<v1::Minimum>(s, args, [](Value a, Value b) { return Min(a, b); });
}

}  // namespace

Components Merges() {
  const auto with_samples = [](Component c, int max) {
    return std::move(c)
        .Shapes("x[N, a...], y[N, b...], ... -> z[N, c...]")
        .Inputs(max == 2 ? 2 : 1, max)
        .Mask(MaskRule::kConsume)
        .With("", {{2, 3}, {2, 3}})
        .With("", {{2, 1, 3}, {2, 4, 3}})
        .With("", {{1, 5}, {1, 5}});
  };
  return {with_samples(Layer<v1::Add>("add", &BuildAdd).Takes(kAnyType, kNumbers), -1),
          with_samples(Layer<v1::Average>("average", &BuildAverage).Takes(kAnyAsFloats, kNumbersAsFloats), -1),
          with_samples(Layer<v1::Maximum>("maximum", &BuildMaximum).Takes(kAnyType, kNumbers), -1),
          with_samples(Layer<v1::Minimum>("minimum", &BuildMinimum).Takes(kAnyType, kNumbers), -1),
          with_samples(Layer<v1::Multiply>("multiply", &BuildMultiply), -1),
          with_samples(Layer<v1::Subtract>("subtract", &BuildSubtract).Takes(kNumbers), 2)};
}

}  // namespace strata::nn
