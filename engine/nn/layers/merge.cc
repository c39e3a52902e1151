// Layers with several inputs: Add, Subtract, Multiply, Average, Maximum, Minimum, Dot, Concatenate.
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
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

// Batched product contracted over one axis of each operand; (N, D) operands give (N, 1).
Outputs BuildDot(Scope& s, const v1::Dot& a, const Args& args) {
  Value x = args[0].value, y = args[1].value;
  if (a.axes_size() < 1 || a.axes_size() > 2)
    return {s.Fail(absl::StrCat("axes: must have one or two entries, got ", a.axes_size()))};
  if (x.rank() < 2 || y.rank() < 2 || x.rank() > 3 || y.rank() > 3) {
    return {s.Fail(absl::StrCat("inputs: must have two or three axes, got ", ShapeString(x.shape()), " and ",
                                ShapeString(y.shape())))};
  }
  const int ax = static_cast<int>(a.axes(0) < 0 ? a.axes(0) + x.rank() : a.axes(0));
  const int64_t last = a.axes(a.axes_size() - 1);
  const int ay = static_cast<int>(last < 0 ? last + y.rank() : last);
  if (ax < 1 || ax >= x.rank() || ay < 1 || ay >= y.rank()) {
    return {s.Fail(absl::StrCat("axes|inputs: must name axes behind the batch, got ", a.axes(0), " and ", last))};
  }
  if (x.dim(ax) != y.dim(ay)) {
    return {s.Fail(absl::StrCat("inputs|axes: contracted sizes must be equal, got ", x.dim(ax), " and ", y.dim(ay)))};
  }
  if (x.dim(0) != y.dim(0)) {
    return {s.Fail(absl::StrCat("inputs: must have batches of equal sizes, got ", x.dim(0), " and ", y.dim(0)))};
  }
  if (a.normalize()) {
    const auto unit = [](Value v, int axis) { return v / Sqrt(Max(ReduceSum(Square(v), {axis}, true), 1e-12)); };
    x = unit(x, ax);
    y = unit(y, ay);
  }
  // [N, rows, K] x [N, K, columns]
  Shape shape{x.dim(0)};
  Value p = x.rank() == 2 ? ExpandDims(x, 1) : (ax == 1 ? SwapAxes(x, 1, 2) : x);
  Value q = y.rank() == 2 ? ExpandDims(y, 2) : (ay == 2 ? SwapAxes(y, 1, 2) : y);
  if (x.rank() == 3) shape.push_back(x.dim(ax == 1 ? 2 : 1));
  if (y.rank() == 3) shape.push_back(y.dim(ay == 1 ? 2 : 1));
  if (shape.size() == 1) shape.push_back(1);
  return {Reshape(MatMul(p, q), shape)};
}

Outputs BuildConcatenate(Scope& s, const v1::Concatenate& a, const Args& args) {
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

std::vector<Component> MergeLayers() {
  const auto with_samples = [](Component c, int max) {
    return std::move(c)
        .Shapes("x[N, ...], ... -> y[N, ...]")
        .Inputs(max == 2 ? 2 : 1, max)
        .Mask(MaskRule::kConsume)
        .With("", {{2, 3}, {2, 3}})
        .With("", {{2, 1, 3}, {2, 4, 3}})
        .With("", {{1, 5}, {1, 5}});
  };
  std::vector<Component> list;
  list.push_back(with_samples(Layer<v1::Add>("add", &BuildAdd), -1));
  list.push_back(with_samples(Layer<v1::Subtract>("subtract", &BuildSubtract), 2));
  list.push_back(with_samples(Layer<v1::Multiply>("multiply", &BuildMultiply), -1));
  list.push_back(with_samples(Layer<v1::Average>("average", &BuildAverage), -1));
  list.push_back(with_samples(Layer<v1::Maximum>("maximum", &BuildMaximum), -1));
  list.push_back(with_samples(Layer<v1::Minimum>("minimum", &BuildMinimum), -1));
  list.push_back(Layer<v1::Dot>("dot", &BuildDot)
                     .Shapes("x[N, ...], y[N, ...] -> z[N, ...]")
                     .Inputs(2, 2)
                     .With("axes: 1", {{2, 3}, {2, 3}})
                     .With("axes: [2, 1]", {{2, 3, 4}, {2, 4, 5}})
                     .With("axes: 1 normalize: true", {{3, 4}, {3, 4}}));
  list.push_back(Layer<v1::Concatenate>("concatenate", &BuildConcatenate)
                     .Shapes("x[..., A, ...], ... -> y[..., sum A, ...]")
                     .Inputs(1, -1)
                     .With("", {{2, 3}, {2, 4}})
                     .With("axis: 1", {{2, 3, 4}, {2, 1, 4}, {2, 2, 4}})
                     .With("axis: 2", {{2, 3, 1}, {2, 3, 5}}));
  return list;
}

}  // namespace strata::nn
