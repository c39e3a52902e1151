// Inputs one behind the other along an axis.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Of a concatenation: each mask is spread over its input and all must hold. Empty if no input has one.
Value ConcatMasks(Scope& s, const Args& args, int axis) {
  std::vector<Value> parts;
  bool any = false;
  for (const Annotated& a : args.positional) {
    const Shape& shape = a.value.shape();
    any |= static_cast<bool>(a.mask);
    if (!a.mask) {
      parts.push_back(Full(s.graph(), 1, shape, DType::kBool));
    } else if (a.mask.rank() + 1 == a.value.rank()) {
      parts.push_back(Broadcast(ExpandDims(a.mask, a.mask.rank()), shape));
    } else {
      parts.push_back(Broadcast(a.mask, shape));
    }
  }
  if (!any || !s.ok()) return {};
  const Value hidden = ReduceSum(Cast(Not(Concat(parts, axis)), DType::kF32), {-1});
  return Equal(hidden, Like(hidden, 0));
}

Outputs Build(Scope& s, const v1::Concatenate& a, const Args& args) {
  std::vector<Value> xs;
  for (const Annotated& x : args.positional) xs.push_back(x.value);
  const int rank = xs[0].rank();
  const int64_t axis = a.axis() < 0 ? a.axis() + rank : a.axis();
  if (axis < 0 || axis >= rank)
    return {s.Fail(absl::StrCat("axis: must name an axis of ", ShapeString(xs[0].shape()), ", got ", a.axis()))};
  for (Value x : xs) {
    Shape want = xs[0].shape(), have = x.shape();
    if (have.size() == want.size()) have[axis] = want[axis];
    if (have != want) {
      return {s.Fail(absl::StrCat("inputs: must agree outside axis ", axis, ", got ", ShapeString(xs[0].shape()),
                                  " and ", ShapeString(x.shape())))};
    }
  }
  if (axis == 0) s.MixRows();
  Annotated out = Concat(xs, static_cast<int>(axis));
  if (!s.pytorch()) out.mask = ConcatMasks(s, args, static_cast<int>(axis));
  return {out};
}

}  // namespace

Components Concatenate() {
  return Layer<v1::Concatenate>("concatenate", &Build)
      .Shapes("x[before..., A, after...], y[before..., B, after...], ... -> z[before..., sum, after...]")
      .Inputs(1, -1)
      .With("", {{2, 3}, {2, 4}})
      .With("axis: 1", {{2, 3, 4}, {2, 1, 4}, {2, 2, 4}})
      .With("axis: 2", {{2, 3, 1}, {2, 3, 5}});
}

}  // namespace strata::nn
