// PyTorch's maximum of windows that start at random places.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/spatial.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Window starts of one axis from one number for each sample and channel u [N, C]: trunc((i + u) alpha) - trunc(u alpha)
// with alpha = (in - k) / (out - 1); the last window ends the input. [N, C, out], i32.
Value Starts(Value u, int64_t in, int64_t kernel, int64_t out) {
  Graph* g = u.graph;
  const Shape shape{u.dim(0), u.dim(1), out};
  if (out == 1) return Full(g, static_cast<double>(in - kernel), shape, DType::kI32);
  const double alpha = static_cast<double>(in - kernel) / static_cast<double>(out - 1);
  const Value i = Iota(g, shape, 2, DType::kI32), base = ExpandDims(u, 2);
  const Value start =
      Cast(Floor((Cast(i, u.dtype()) + base) * alpha), DType::kI32) - Cast(Floor(base * alpha), DType::kI32);
  return Select(Equal(i, Like(i, static_cast<double>(out - 1))), Like(i, static_cast<double>(in - kernel)), start);
}

template <int kAxes>
Outputs Build(Scope& s, const v1::FractionalMaxPool& a, const Args& args) {
  const bool unbatched = args[0].value.rank() == kAxes + 1;
  if (unbatched) s.MixRows();  // axis 0 holds channels
  Value x = unbatched ? ExpandDims(args[0], 0) : args[0].value;
  if (x.rank() != kAxes + 2)
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 2, " axes, got ", ShapeString(x.shape())))};
  if (a.output_size().empty() == a.output_ratio().empty())
    return {s.Fail(absl::StrCat("output_size|output_ratio: exactly one must be given, got ",
                                a.output_size().empty() ? "none" : "both"))};
  const std::vector<int64_t> kernel = PerAxis(s, "kernel_size", a.kernel_size(), kAxes, std::vector<int64_t>(kAxes, 1));
  std::vector<int64_t> size = PerAxis(s, "output_size", a.output_size(), kAxes, {});
  if (size.empty()) {
    for (int i = 0; i < kAxes; ++i) {
      size.push_back(
          static_cast<int64_t>(static_cast<double>(x.dim(i + 2)) * a.output_ratio(a.output_ratio_size() == 1 ? 0 : i)));
    }
  }
  const int64_t batch = x.dim(0), channels = x.dim(1), maps = batch * channels;
  for (int i = 0; i < kAxes && s.ok(); ++i) {
    if (size[i] < 1 || size[i] + kernel[i] - (kAxes == 3 ? 0 : 1) > x.dim(i + 2)) {
      s.Fail(absl::StrCat("output_size|output_ratio|kernel_size|input: windows must fit ", x.dim(i + 2), " cells, got ",
                          size[i], " of ", kernel[i]));
    }
  }
  if (!s.ok()) return {Value{s.graph(), -1}};
  const Shape samples{batch, channels, kAxes};
  if (args.size() == 1) s.MixRows();  // each place in the batch draws its own numbers
  Value u = args.size() > 1 ? args[1].value : s.Random("windows", samples);
  if (u.shape() != samples)
    return {s.Fail(
        absl::StrCat("_random_samples: must have shape ", ShapeString(samples), ", got ", ShapeString(u.shape())))};

  // ids [N, C, out..., window...]: row of the flat input for each window's cells; positions within the map alike.
  Value position;
  for (int i = 0; i < kAxes; ++i) {
    const Value own = Squeeze(SliceAxis(u, 2, kAxes == 2 ? 1 - i : i, 1), 2);  // in 2d the last axis comes first
    const Value starts = Starts(own, x.dim(i + 2), kernel[i], size[i]);
    Shape out_shape{batch, channels}, tap_shape(2 + 2 * kAxes, 1);
    for (int d = 0; d < kAxes; ++d) out_shape.push_back(d == i ? size[i] : 1);
    out_shape.resize(2 + 2 * kAxes, 1);
    tap_shape[2 + kAxes + i] = kernel[i];
    const Value cell = Reshape(starts, out_shape) + Iota(s.graph(), tap_shape, 2 + kAxes + i, DType::kI32);
    position = position ? position * Like(position, static_cast<double>(x.dim(i + 2))) + cell : cell;
  }
  const int64_t cells = NumElements(std::span(x.shape()).subspan(2)), places = NumElements(size),
                window = NumElements(kernel);
  position = Reshape(position, {maps, places, window});
  const Value offset = Iota(s.graph(), {maps, 1, 1}, 0, DType::kI32) * Like(position, static_cast<double>(cells));
  const Value flat = Reshape(x, {maps * cells});
  const Value best = ArgMax(Gather(flat, position + offset), -1);  // the first maximum, [maps, places]
  const Value chosen = PickLast(position, best);
  Shape shape{batch, channels};
  shape.insert(shape.end(), size.begin(), size.end());
  const auto back = [&](Value v) {
    v = Reshape(v, shape);
    return unbatched ? Squeeze(v, 0) : v;
  };
  Outputs out{back(Gather(flat, chosen + Squeeze(offset, 2)))};
  if (a.return_indices()) out.push_back(back(Cast(chosen, DType::kI64)));
  return out;
}

}  // namespace

Components FractionalMaxPool() {
  const auto samples = [](Component c, Shape x) {
    return std::move(c)
        .Shapes("x[N, C, spatial...] -> y[N, C, spatial'...], indices[N, C, spatial'...]")
        .Takes(kFloats)
        .Inputs(1, 2)
        .With({"kernel_size: 2 output_size: 2", {x}, v1::PYTORCH})
        .With({"kernel_size: 2 output_ratio: 0.6 return_indices: true", {x}, v1::PYTORCH})
        .With({"kernel_size: 1 output_size: 3", {x}, v1::PYTORCH});
  };
  return {samples(Layer<v1::FractionalMaxPool>("fractional_max_pool2d", &Build<2>), {2, 2, 5, 4}),

          samples(Layer<v1::FractionalMaxPool>("fractional_max_pool3d", &Build<3>), {1, 2, 4, 4, 5})};
}

}  // namespace strata::nn
