// Layers that move elements: Flatten, Reshape, Permute, RepeatVector.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Keras keeps the batch axis; a rank-1 input becomes (N, 1), a channels-first input is moved to channels-last first.
Outputs BuildFlatten(Scope& s, const v1::Flatten& a, const Args& args) {
  Value x = args[0];
  if (!s.pytorch()) {
    if (a.data_format() == v1::CHANNELS_FIRST && x.rank() > 2) {
      std::vector<int64_t> p{0};
      for (int i = 2; i < x.rank(); ++i) p.push_back(i);
      p.push_back(1);
      x = Transpose(x, p);
    }
    if (x.rank() == 0) return {s.Fail("x|input: must have a batch axis, got []")};
    return {Reshape(x, {x.dim(0), x.dim(0) == 0 ? 0 : x.num_elements() / x.dim(0)})};
  }
  if (x.rank() == 0 && a.start_axis() <= 0 && a.start_axis() >= -1 && a.end_axis() <= 0 && a.end_axis() >= -1) {
    return {Reshape(x, {1})};
  }
  const int64_t start = a.start_axis() < 0 ? a.start_axis() + x.rank() : a.start_axis();
  const int64_t end = a.end_axis() < 0 ? a.end_axis() + x.rank() : a.end_axis();
  if (start < 0 || start >= x.rank() || end < start || end >= x.rank()) {
    return {s.Fail(absl::StrCat("start_dim|end_dim|input: must name axes in order of ", ShapeString(x.shape()),
                                ", got ", a.start_axis(), " and ", a.end_axis()))};
  }
  Shape shape(x.shape().begin(), x.shape().begin() + start);
  int64_t merged = 1;
  for (int64_t i = start; i <= end; ++i) merged *= x.dim(static_cast<int>(i));
  shape.push_back(merged);
  shape.insert(shape.end(), x.shape().begin() + end + 1, x.shape().end());
  return {Reshape(x, shape)};
}

Outputs BuildReshape(Scope& s, const v1::Reshape& a, const Args& args) {
  const Value x = args[0];
  if (x.rank() == 0) return {s.Fail("x|input: must have a batch axis, got []")};
  int64_t known = 1, wild = 0;
  Shape shape{x.dim(0)};
  for (int64_t d : a.target_shape()) {
    if (d == -1) {
      ++wild;
    } else {
      known *= d;
    }
    shape.push_back(d);
  }
  const int64_t row = NumElements(std::span(x.shape()).subspan(1));
  if (wild > 1) return {s.Fail(absl::StrCat("target_shape: must have at most one -1, got ", wild))};
  if (wild == 1 ? (known == 0 || row % known != 0) : known != row) {
    return {s.Fail(
        absl::StrCat("target_shape: must have ", row, " elements, got ", ShapeString(std::span(shape).subspan(1))))};
  }
  for (int64_t& d : shape) d = d == -1 ? row / known : d;
  shape[0] = x.dim(0);
  return {Reshape(x, shape)};
}

Outputs BuildPermute(Scope& s, const v1::Permute& a, const Args& args) {
  const Value x = args[0];
  std::vector<int64_t> p{0};
  p.insert(p.end(), a.dims().begin(), a.dims().end());
  std::vector<bool> seen(p.size(), false);
  for (int64_t d : p) {
    if (static_cast<int>(p.size()) != x.rank() || d < 0 || d >= x.rank() || seen[d]) {
      return {s.Fail(absl::StrCat("dims|input: must be a permutation of 1 to ", x.rank() - 1, ", got ",
                                  ShapeString(std::span(a.dims().data(), static_cast<size_t>(a.dims_size())))))};
    }
    seen[d] = true;
  }
  return {Transpose(x, p)};
}

Outputs BuildRepeatVector(Scope& s, const v1::RepeatVector& a, const Args& args) {
  const Value x = args[0];
  if (x.rank() != 2) return {s.Fail(absl::StrCat("x: must have shape (N, D), got ", ShapeString(x.shape())))};
  return {Broadcast(ExpandDims(x, 1), {x.dim(0), a.n(), x.dim(1)})};
}

// Axis of x that `axis` names, -1 after an error.
int AxisIn(Scope& s, int64_t axis, Value x) {
  const int64_t a = axis < 0 ? axis + x.rank() : axis;
  if (a >= 0 && a < x.rank()) return static_cast<int>(a);
  s.Fail(absl::StrCat("dim: must name an axis of ", ShapeString(x.shape()), ", got ", axis));
  return -1;
}

Outputs BuildSelect(Scope& s, const v1::Select& a, const Args& args) {
  const Value x = args[0];
  const int axis = AxisIn(s, a.axis(), x);
  if (axis < 0) return {Value{s.graph(), -1}};
  const int64_t index = a.index() < 0 ? a.index() + x.dim(axis) : a.index();
  if (index < 0 || index >= x.dim(axis)) {
    return {
        s.Fail(absl::StrCat("index: must be within axis ", axis, " of ", ShapeString(x.shape()), ", got ", a.index()))};
  }
  if (axis == 0) s.MixRows();
  return {Squeeze(SliceAxis(x, axis, index, 1), axis)};
}

Outputs BuildMean(Scope& s, const v1::Mean& a, const Args& args) {
  std::vector<int64_t> axes;
  for (int64_t given : a.axis()) {
    axes.push_back(AxisIn(s, given, args[0]));
    if (axes.back() < 0) return {Value{s.graph(), -1}};
    if (axes.back() == 0) s.MixRows();
  }
  return {ReduceMean(args[0], axes, a.keepdims())};
}

}  // namespace

std::vector<Component> ShapeLayers() {
  std::vector<Component> list;
  list.push_back(Layer<v1::Flatten>("flatten", &BuildFlatten)
                     .Shapes("x[N, ...] -> y[N, prod]")
                     .With("", {{2, 3, 4}})
                     .With({"start_axis: 0 end_axis: 1", {{2, 3, 4}}, v1::PYTORCH})
                     .With({"data_format: CHANNELS_FIRST", {{2, 3, 2, 2}}, v1::KERAS}));
  list.push_back(Layer<v1::Reshape>("reshape", &BuildReshape)
                     .Shapes("x[N, ...] -> y[N, target_shape...]")
                     .With("target_shape: [2, -1]", {{2, 6}})
                     .With("target_shape: 12", {{1, 3, 4}})
                     .With("target_shape: [1, 1, 5]", {{3, 5}}));
  list.push_back(Layer<v1::Permute>("permute", &BuildPermute)
                     .Shapes("x[N, ...] -> y[N, permuted...]")
                     .With("dims: [2, 1]", {{2, 3, 4}})
                     .With("dims: [3, 1, 2]", {{2, 3, 4, 5}})
                     .With("dims: 1", {{2, 3}}));
  list.push_back(Layer<v1::RepeatVector>("repeat_vector", &BuildRepeatVector)
                     .Shapes("x[N, D] -> y[N, n, D]")
                     .With("n: 3", {{2, 4}})
                     .With("n: 1", {{1, 4}})
                     .With("n: 2", {{3, 1}}));
  list.push_back(Layer<v1::Select>("select", &BuildSelect)
                     .Shapes("x[..., A, ...] -> y[..., ...]")
                     .With("axis: 1 index: -1", {{2, 3, 4}})
                     .With("axis: -1 index: 0", {{2, 5}})
                     .With("axis: 2 index: 1", {{1, 2, 3}}));
  list.push_back(Layer<v1::Mean>("mean", &BuildMean)
                     .Shapes("x[..., A, ...] -> y[..., ...]")
                     .With("axis: 1", {{2, 3, 4}})
                     .With("axis: [1, 2] keepdims: true", {{2, 3, 1}})
                     .With("axis: -1", {{5, 7}}));
  return list;
}

}  // namespace strata::nn
