// Keras' locally connected layers: every place has a kernel of its own. The three implementations store the same
// function's kernel by place, as a dense matrix from input to output with a mask, or as that matrix' entries.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/activations.h"
#include "engine/nn/layers/spatial.h"
#include "engine/nn/layers/windows.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

ParamOptions KernelOptions(const v1::LocallyConnected& a) {
  return {.initializer = a.kernel_initializer(),
          .regularizer = a.has_kernel_regularizer() ? &a.kernel_regularizer() : nullptr,
          .constraint = a.has_kernel_constraint() ? &a.kernel_constraint() : nullptr};
}

// kernel [places, window * C, F]; a window's cells come before its channels where the channels are last, and after them
// otherwise.
Value ByPlace(Scope& s, const v1::LocallyConnected& a, Value x, const WindowGrid& grid, bool channels_first) {
  if (!CheckPairs(s, "kernel_size|input", {grid.kernel, grid.Places()})) return Value{s.graph(), -1};
  const int64_t window = NumElements(grid.kernel), places = NumElements(grid.Places()), channels = x.dim(-1);
  const Value w = s.Param("kernel", {places, window * channels, a.filters()}, KernelOptions(a));
  const Value columns = GatherWindows(x, grid);  // [K, L, N, C]
  const Value patches =
      Transpose(columns, channels_first ? std::vector<int64_t>{1, 2, 3, 0} : std::vector<int64_t>{1, 2, 0, 3});
  const Value y = MatMul(Reshape(patches, {places, x.dim(0), window * channels}), w);  // [L, N, F]
  return Transpose(y, {1, 0, 2});
}

// Flat (output, input) pairs that are connected, in order. Axes stand in the dialect's data format.
std::vector<std::pair<int64_t, int64_t>> Connections(const WindowGrid& grid, int64_t channels, int64_t filters,
                                                     bool channels_first) {
  std::vector<std::pair<int64_t, int64_t>> pairs;
  const std::vector<int64_t> cells = grid.Cells();
  const int64_t places = NumElements(grid.Places()), inputs = NumElements(grid.size),
                window = static_cast<int64_t>(cells.size()) / places;
  for (int64_t k = 0; k < window; ++k) {
    for (int64_t place = 0; place < places; ++place) {
      const int64_t cell = cells[k * places + place];
      if (cell < 0) continue;
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t f = 0; f < filters; ++f) {
          pairs.push_back(channels_first ? std::pair{f * places + place, c * inputs + cell}
                                         : std::pair{place * filters + f, cell * channels + c});
        }
      }
    }
  }
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

// The dense matrix [inputs, outputs] times the flat input in the data format's order.
Value AsMatrix(Scope& s, const v1::LocallyConnected& a, Value x, const WindowGrid& grid, bool channels_first) {
  const int64_t channels = x.dim(-1), filters = a.filters(), batch = x.dim(0);
  const std::vector<int64_t> places = grid.Places();
  const int64_t features[] = {channels, filters};
  if (!CheckPairs(s, "filters|input", {grid.size, places, features})) return Value{s.graph(), -1};
  const int64_t inputs = NumElements(grid.size) * channels, outputs = NumElements(places) * filters;
  const auto pairs = Connections(grid, channels, filters, channels_first);
  Value matrix;
  if (a.implementation() == 2) {
    Shape shape(grid.size.begin(), grid.size.end());
    shape.insert(channels_first ? shape.begin() : shape.end(), channels);
    shape.insert(shape.end(), places.begin(), places.end());
    shape.insert(channels_first ? shape.begin() + static_cast<int64_t>(grid.size.size()) + 1 : shape.end(), filters);
    std::vector<double> mask(inputs * outputs, 0);
    for (const auto& [out, in] : pairs) mask[in * outputs + out] = 1;
    const Value keep = Constant(s.graph(), Tensor::Of(DType::kF32, {inputs, outputs}, mask));
    matrix = Reshape(s.Param("kernel", shape, KernelOptions(a)), {inputs, outputs}) * keep;
  } else {
    std::vector<int64_t> ids;
    for (const auto& [out, in] : pairs) ids.push_back(in * outputs + out);
    const int64_t count = static_cast<int64_t>(ids.size());
    const Value entries = s.Param("kernel", {count}, KernelOptions(a));
    const Value at = Constant(s.graph(), Tensor::Of(DType::kI32, {count}, ids));
    matrix = Reshape(ScatterAdd(at, ExpandDims(entries, 1), inputs * outputs), {inputs, outputs});
  }
  const Value flat = Reshape(channels_first ? ToChannelsFirst(x) : x, {batch, inputs});
  const Value y = MatMul(flat, matrix);
  if (!channels_first) return Reshape(y, {batch, NumElements(places), filters});
  return Transpose(Reshape(y, {batch, filters, NumElements(places)}), {0, 2, 1});
}

template <int kAxes>
Outputs Build(Scope& s, const v1::LocallyConnected& a, const Args& args) {
  Value x = args[0];
  if (x.rank() != kAxes + 2)
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 2, " axes, got ", ShapeString(x.shape())))};
  const bool channels_first = a.data_format() == v1::CHANNELS_FIRST, same = a.padding().mode() == v1::Padding::SAME;
  if (a.padding().kind_case() == v1::Padding::kSize || a.padding().mode() == v1::Padding::CAUSAL ||
      (same && a.implementation() == 1)) {
    return {s.Fail(absl::StrCat("padding: must be VALID (or SAME with implementation 2 or 3), got ",
                                a.padding().has_size() ? "numbers" : v1::Padding::Mode_Name(a.padding().mode())))};
  }
  if (channels_first) x = ToChannelsLast(x);
  const std::vector<int64_t> ones(kAxes, 1);
  WindowGrid grid;
  grid.size.assign(x.shape().begin() + 1, x.shape().end() - 1);
  grid.kernel = PerAxis(s, "kernel_size", a.kernel_size(), kAxes, ones);
  grid.stride = PerAxis(s, "strides", a.stride(), kAxes, ones);
  grid.dilation = ones;
  grid.pad_lo = grid.pad_hi = std::vector<int64_t>(kAxes, 0);
  // Keras centres the window: an even one has its extra cell at the start.
  for (int i = 0; i < kAxes && same; ++i) {
    const int64_t out = (grid.size[i] + grid.stride[i] - 1) / grid.stride[i];
    grid.pad_lo[i] = grid.kernel[i] / 2;
    grid.pad_hi[i] = (out - 1) * grid.stride[i] + grid.kernel[i] - grid.size[i] - grid.pad_lo[i];
  }
  if (!s.ok()) return {Value{s.graph(), -1}};
  const std::vector<int64_t> places = grid.Places();
  if (NumElements(places) <= 0)
    return {s.Fail(
        absl::StrCat("kernel_size|input: must fit ", ShapeString(grid.size), ", got ", ShapeString(grid.kernel)))};
  Value y = a.implementation() == 1 ? ByPlace(s, a, x, grid, channels_first) : AsMatrix(s, a, x, grid, channels_first);
  if (!s.ok()) return {y};
  Shape shape{x.dim(0)}, bias_shape;
  shape.insert(shape.end(), places.begin(), places.end());
  shape.push_back(a.filters());
  y = Reshape(y, shape);
  if (channels_first) y = ToChannelsFirst(y);
  if (a.use_bias()) {
    bias_shape.assign(shape.begin() + 1, shape.end());
    const Value bias = s.Param("bias", bias_shape,
                               {.initializer = a.bias_initializer(),
                                .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
                                .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr});
    // Keras reshapes the bias to the output's axes where the channels come first; it does not transpose it.
    y = y + Reshape(bias, Shape(y.shape().begin() + 1, y.shape().end()));
  }
  Annotated out = Activate(s, a.activation(), y);
  return {out};
}

}  // namespace

Components LocallyConnected() {
  const std::string shapes = "x[N, spatial..., C] -> y[N, spatial'..., filters]";
  return {
      Layer<v1::LocallyConnected>("locally_connected1d", &Build<1>)
          .Shapes(shapes)
          .Takes(kFloats)
          .With({"filters: 2 kernel_size: 2", {{2, 4, 3}}, v1::KERAS})
          .With({"filters: 1 kernel_size: 2 stride: 2 use_bias: false", {{1, 5, 2}}, v1::KERAS})
          .With({"filters: 2 kernel_size: 2 padding { mode: SAME } implementation: 3", {{2, 3, 1}}, v1::KERAS}),

      Layer<v1::LocallyConnected>("locally_connected2d", &Build<2>)
          .Shapes(shapes)
          .Takes(kFloats)
          .With({"filters: 2 kernel_size: 2", {{2, 3, 4, 2}}, v1::KERAS})
          .With({"filters: 2 kernel_size: [1, 2] data_format: CHANNELS_FIRST", {{1, 3, 2, 3}}, v1::KERAS})
          .With({"filters: 2 kernel_size: 2 padding { mode: SAME } implementation: 2", {{2, 3, 2, 2}}, v1::KERAS})
          .With(
              {"filters: 1 kernel_size: 2 implementation: 3 data_format: CHANNELS_FIRST", {{1, 2, 3, 3}}, v1::KERAS})};
}

}  // namespace strata::nn
