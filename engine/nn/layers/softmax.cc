// The softmax over one axis, or several together, and how its axis is found, which the log-softmax shares.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/activations.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

// Softmax over several axes together.
Value OverAxes(Scope& s, const std::vector<int64_t>& given, Value x) {
  std::vector<int64_t> axes, order;
  for (int64_t a : given) axes.push_back(a < 0 ? a + x.rank() : a);
  std::sort(axes.begin(), axes.end());
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] < 0 || axes[i] >= x.rank() || (i > 0 && axes[i] == axes[i - 1])) {
      return s.Fail(absl::StrCat("axis|axes: must name different axes of ", ShapeString(x.shape()), ", got ",
                                 ShapeString(given)));
    }
  }
  const Value e = Exp(x - ReduceMax(x, axes, true));
  return e / ReduceSum(e, axes, true);
}

}  // namespace

int DefaultAxis(int rank) { return rank == 0 || rank == 1 || rank == 3 ? 0 : 1; }

int SoftmaxAxis(Scope& s, bool has_axis, int64_t axis, Value x) {
  const int a = has_axis ? static_cast<int>(axis) : DefaultAxis(x.rank());
  const int positive = a < 0 ? a + x.rank() : a;
  if (positive == 0 && x.rank() > 0) s.MixRows();
  if (x.rank() == 0 && (a == 0 || a == -1)) return 0;
  if (positive < 0 || positive >= x.rank()) {
    s.Fail(absl::StrCat("axis: must name an axis of ", ShapeString(x.shape()), ", got ", a));
    return -1;
  }
  return positive;
}

Annotated SoftmaxOf(Scope& s, const v1::Softmax& a, Value x) {
  if (a.axes_size() > 0) return OverAxes(s, {a.axes().begin(), a.axes().end()}, x);
  if (!s.pytorch() && x.rank() < 2) {
    return s.Fail(absl::StrCat("x: softmax needs at least two axes, got ", ShapeString(x.shape())));
  }
  const int axis = SoftmaxAxis(s, a.has_axis(), a.axis(), x);
  if (axis < 0) return Value{s.graph(), -1};
  Annotated y = x.rank() == 0 ? x * 0 + 1 : Softmax(x, axis);
  if (axis == x.rank() - 1) {
    y.logits = x;
    y.maker = Annotated::Maker::kSoftmax;
  }
  return y;
}

namespace {

// As a layer, Keras' softmax leaves masked positions out: they get a large negative number first.
Outputs BuildSoftmax(Scope& s, const v1::Softmax& a, const Args& args) {
  Value x = args[0].value;
  const Value mask = args[0].mask;
  if (!s.pytorch() && mask) {
    if (!BroadcastShape(mask.shape(), x.shape()).ok()) {
      return {s.Fail(
          absl::StrCat("mask: must fit the input ", ShapeString(x.shape()), ", got ", ShapeString(mask.shape())))};
    }
    x = a.robust_masking() ? Select(mask, x, Like(x, -1e9)) : x + (1.0 - Cast(mask, x.dtype())) * -1e9;
  }
  return {SoftmaxOf(s, a, x)};
}

}  // namespace

Components Softmax() {
  return Layer<v1::Softmax>("softmax", &BuildSoftmax)
      .Shapes("x[...] -> y[...]")
      .Takes(kFloats)
      .Mask(MaskRule::kPass)
      .Named(v1::KERAS, {"mask"})
      .With("axis: -1", {{2, 3}})
      .With("axis: 1", {{2, 3, 4}})
      .With("axis: 1", {{1, 10}});
}

}  // namespace strata::nn
