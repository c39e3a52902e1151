// Padding layers of both frameworks, and cropping.
#include "engine/nn/layers/pad.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Value Crop(Scope& s, Value x, int axis, int64_t lo, int64_t hi) {
  const int64_t size = x.dim(axis) - lo - hi;
  if (size <= 0 || lo < 0 || hi < 0) {
    s.Fail(absl::StrCat("padding|cropping|input: must leave something of axis ", axis, " of ", ShapeString(x.shape()),
                        ", got ", lo, " and ", hi));
    return {s.graph(), -1};
  }
  return SliceAxis(x, axis, lo, size);
}

Value Edge(Value x, int axis, int64_t at, int64_t count) {
  const Value one = SliceAxis(x, axis, at, 1);
  Shape shape = one.shape();
  shape[axis] = count;
  return Broadcast(one, shape);
}

}  // namespace

Value PadAxis(Scope& s, PadKind kind, Value x, int axis, int64_t lo, int64_t hi, double value) {
  if (!x) return x;
  if (kind == PadKind::kZero) {
    // The front is cut before the back.
    const int64_t rest = x.dim(axis) + std::min<int64_t>(lo, 0);
    if (x.dim(axis) + lo + hi <= 0 || rest < 0 || rest + std::min<int64_t>(hi, 0) < 0)
      return s.Fail(absl::StrCat("padding|input: must leave something of axis ", axis, " of ", ShapeString(x.shape()),
                                 ", got ", lo, " and ", hi));
    std::vector<int64_t> los(x.rank(), 0), his(x.rank(), 0);
    los[axis] = lo;
    his[axis] = hi;
    return Pad(x, los, his, value);
  }
  if (kind == PadKind::kCircular && (lo < 0 || hi < 0)) {  // the cells that wrap are those of the cropped axis
    x = Crop(s, x, axis, std::max<int64_t>(-lo, 0), std::max<int64_t>(-hi, 0));
    return PadAxis(s, kind, x, axis, std::max<int64_t>(lo, 0), std::max<int64_t>(hi, 0), value);
  }
  const int64_t size = x.dim(axis);
  const int64_t limit = kind == PadKind::kReflect ? size - 1 : kind == PadKind::kCircular ? size : std::max(lo, hi);
  if (std::max(lo, hi) > limit || size == 0) {
    return s.Fail(absl::StrCat("padding|input: must be at most ", limit, " for an axis of ", size, " cells, got ",
                               std::max(lo, hi)));
  }
  std::vector<Value> parts;
  if (lo > 0) {
    parts.push_back(kind == PadKind::kReflect     ? Reverse(SliceAxis(x, axis, 1, lo), {axis})
                    : kind == PadKind::kReplicate ? Edge(x, axis, 0, lo)
                                                  : SliceAxis(x, axis, size - lo, lo));
  }
  parts.push_back(x);
  if (hi > 0) {
    parts.push_back(kind == PadKind::kReflect     ? Reverse(SliceAxis(x, axis, size - 1 - hi, hi), {axis})
                    : kind == PadKind::kReplicate ? Edge(x, axis, size - 1, hi)
                                                  : SliceAxis(x, axis, 0, hi));
  }
  const Value padded = parts.size() == 1 ? x : Concat(parts, axis);
  return lo < 0 || hi < 0 ? Crop(s, padded, axis, std::max<int64_t>(-lo, 0), std::max<int64_t>(-hi, 0)) : padded;
}

namespace {

// PyTorch: pairs from the last axis on.
template <typename List>
Outputs Build(Scope& s, const List& padding, const Args& args, int axes, PadKind kind, double value) {
  Value x = args[0];
  // Constants go round any axes of any tensor, whatever the layer's name says; cells round those of one with channels
  // in front and perhaps a batch.
  const bool constant = kind == PadKind::kZero;
  if (constant && padding.size() > 1) axes = padding.size() / 2;
  if (constant ? x.rank() < axes : x.rank() != axes + 1 && x.rank() != axes + 2) {
    return {s.Fail(absl::StrCat("input: must have ",
                                constant ? absl::StrCat(axes, " or more") : absl::StrCat(axes + 1, " or ", axes + 2),
                                " axes, got ", ShapeString(x.shape())))};
  }
  if (x.rank() == axes) s.MixRows();
  if (padding.size() != 1 && padding.size() != 2 * axes) {
    return {s.Fail(constant ? absl::StrCat("padding: must have 1 entry or pairs of them, got ", padding.size())
                            : absl::StrCat("padding: must have 1 or ", 2 * axes, " entries, got ", padding.size()))};
  }
  for (int i = 0; i < axes; ++i) {
    const int64_t lo = padding.size() == 1 ? padding[0] : padding[2 * i];
    const int64_t hi = padding.size() == 1 ? padding[0] : padding[2 * i + 1];
    x = PadAxis(s, kind, x, x.rank() - 1 - i, lo, hi, value);
    if (!s.ok()) return {Value{s.graph(), -1}};
  }
  return {x};
}

template <int kAxes>
Outputs BuildConstant(Scope& s, const v1::ConstantPad& a, const Args& args) {
  // Integers take what PyTorch casts the value to.
  const DType type = args[0].value.dtype();
  const double value = type == DType::kBool ? a.value() != 0 : IsFloat(type) ? a.value() : std::trunc(a.value());
  return Build(s, a.padding(), args, kAxes, PadKind::kZero, value);
}
template <int kAxes, PadKind kKind>
Outputs BuildCells(Scope& s, const v1::PadCells& a, const Args& args) {
  return Build(s, a.padding(), args, kAxes, kKind, 0);
}

// Keras: one number, one for each axis, or a pair for each.
template <typename List>
bool KerasPairs(Scope& s, const char* name, const List& given, int axes, std::vector<int64_t>* lo,
                std::vector<int64_t>* hi) {
  const int count = static_cast<int>(given.size());
  for (int i = 0; i < axes; ++i) {
    const bool pairs = count == 2 * axes;
    if (!pairs && count != 1 && count != axes) {
      s.Fail(absl::StrCat(name, ": must have 1, ", axes, " or ", 2 * axes, " entries, got ", count));
      return false;
    }
    lo->push_back(pairs ? given[2 * i] : given[count == 1 ? 0 : i]);
    hi->push_back(pairs ? given[2 * i + 1] : lo->back());
  }
  return true;
}

template <int kAxes>
Outputs BuildZeroPadding(Scope& s, const v1::ZeroPadding& a, const Args& args) {
  Value x = args[0];
  if (x.rank() != kAxes + 2)
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 2, " axes, got ", ShapeString(x.shape())))};
  std::vector<int64_t> lo, hi;
  if (!KerasPairs(s, "padding", a.padding(), kAxes, &lo, &hi)) return {Value{s.graph(), -1}};
  const int first = a.data_format() == v1::CHANNELS_FIRST ? 2 : 1;
  for (int i = 0; i < kAxes; ++i) x = PadAxis(s, PadKind::kZero, x, first + i, lo[i], hi[i]);
  return {x};
}

template <int kAxes>
Outputs BuildCropping(Scope& s, const v1::Cropping& a, const Args& args) {
  Value x = args[0];
  if (x.rank() != kAxes + 2)
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 2, " axes, got ", ShapeString(x.shape())))};
  std::vector<int64_t> lo, hi, given(a.cropping().begin(), a.cropping().end());
  if (given.empty()) given.push_back(kAxes == 2 ? 0 : 1);
  if (!KerasPairs(s, "cropping", given, kAxes, &lo, &hi)) return {Value{s.graph(), -1}};
  const int first = a.data_format() == v1::CHANNELS_FIRST ? 2 : 1;
  for (int i = 0; i < kAxes && s.ok(); ++i) x = Crop(s, x, first + i, lo[i], hi[i]);
  return {x};
}

template <int kAxes>
Shape SampleShape(bool channels_last) {
  Shape shape{2};
  if (!channels_last) shape.push_back(3);
  for (int i = 0; i < kAxes; ++i) shape.push_back(4 - i % 2);
  if (channels_last) shape.push_back(3);
  return shape;
}

template <int kAxes>
void AddLayers(std::vector<Component>* list) {
  const std::string n = absl::StrCat(kAxes, "d"), shapes = "x[N, C, spatial...] -> y[N, C, spatial'...]";
  const auto pytorch = [&](Component c, const std::string& more) {
    std::string pairs = "padding: [2, 1";
    for (int i = 1; i < kAxes; ++i) pairs += ", 0, 1";
    list->push_back(std::move(c)
                        .Shapes(shapes)
                        .With({"padding: 1" + more, {SampleShape<kAxes>(false)}, v1::PYTORCH})
                        .With({pairs + "]" + more, {SampleShape<kAxes>(false)}, v1::PYTORCH})
                        .With({"padding: -1" + more, {SampleShape<kAxes>(false)}, v1::PYTORCH}));
  };
  pytorch(Layer<v1::ConstantPad>("constant_pad" + n, &BuildConstant<kAxes>), " value: 0.5");
  pytorch(Layer<v1::PadCells>("zero_pad" + n, &BuildCells<kAxes, PadKind::kZero>), "");
  pytorch(Layer<v1::PadCells>("replication_pad" + n, &BuildCells<kAxes, PadKind::kReplicate>), "");
  pytorch(Layer<v1::PadCells>("reflection_pad" + n, &BuildCells<kAxes, PadKind::kReflect>), "");
  pytorch(Layer<v1::PadCells>("circular_pad" + n, &BuildCells<kAxes, PadKind::kCircular>), "");
  std::string pairs = ": [1, 0";
  for (int i = 1; i < kAxes; ++i) pairs += ", 0, 1";
  pairs += "]";
  list->push_back(Layer<v1::ZeroPadding>("zero_padding" + n, &BuildZeroPadding<kAxes>)
                      .Shapes("x[N, spatial..., C] -> y[N, spatial'..., C]")
                      .With({"", {SampleShape<kAxes>(true)}, v1::KERAS})
                      .With({"padding" + pairs, {SampleShape<kAxes>(true)}, v1::KERAS})
                      .With({"padding: 2 data_format: CHANNELS_FIRST", {SampleShape<kAxes>(false)}, v1::KERAS}));
  list->push_back(Layer<v1::Cropping>("cropping" + n, &BuildCropping<kAxes>)
                      .Shapes("x[N, spatial..., C] -> y[N, spatial'..., C]")
                      .With({"", {SampleShape<kAxes>(true)}, v1::KERAS})
                      .With({"cropping" + pairs, {SampleShape<kAxes>(true)}, v1::KERAS})
                      .With({"cropping: 1 data_format: CHANNELS_FIRST", {SampleShape<kAxes>(false)}, v1::KERAS}));
}

}  // namespace

std::vector<Component> PadLayers() {
  std::vector<Component> list;
  AddLayers<1>(&list);
  AddLayers<2>(&list);
  AddLayers<3>(&list);
  return list;
}

}  // namespace strata::nn
