// Convolutions: plain, depthwise, separable. Keras' padding depends on sides and sizes: what PyTorch's numbers cannot
// say becomes a padding layer before the convolution, and the other way round.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"

namespace strata::convert {
namespace {

template <typename M>
Window ConvWindowOf(Site& s, const M& a) {
  const std::vector<int64_t> sizes = SpatialSizes(s);
  const std::vector<int64_t> ones(sizes.size(), 1);
  Window w;
  w.size = PerAxis(a.kernel_size(), sizes.size(), ones);
  w.stride = PerAxis(a.stride(), sizes.size(), ones);
  w.dilation = PerAxis(a.dilation(), sizes.size(), ones);
  FillPadding(a.padding(), sizes, &w);
  return w;
}

std::string Ranked(const char* kind, size_t axes) { return absl::StrCat(kind, axes, "d"); }

v1::Conv* ConvOf(v1::Layer* layer) { return static_cast<v1::Conv*>(MutableAttrs(layer)); }

// Writes the padding of `w` into a PyTorch convolution, or puts a padding layer before it. Returns its input.
v1::Edge PadForPytorch(Site& s, const Window& w, bool same, const v1::Edge& x, v1::Conv* conv) {
  conv->clear_padding();
  if (AllEqual(w.lo, 0) && AllEqual(w.hi, 0)) return x;
  if (same && AllEqual(w.stride, 1)) {
    conv->mutable_padding()->set_mode(v1::Padding::SAME);
    return x;
  }
  if (w.lo != w.hi) return PadSpatial(s, x, w.lo, w.hi);
  SetList(w.lo, conv->mutable_padding()->mutable_size()->mutable_values());
  return x;
}

// The same for Keras, where `padding` is the new layer's.
v1::Edge PadForKeras(Site& s, const Window& w, const v1::Edge& x, v1::Padding* padding) {
  bool same = AllEqual(w.stride, 1);
  for (size_t i = 0; i < w.lo.size(); ++i) same &= w.lo[i] + w.hi[i] == w.reach(i) - 1 && w.lo[i] <= w.hi[i];
  same &= std::equal(w.lo.begin(), w.lo.end(), w.hi.begin(), [](int64_t lo, int64_t hi) { return hi - lo <= 1; });
  const bool none = AllEqual(w.lo, 0) && AllEqual(w.hi, 0);
  padding->set_mode(same && !none ? v1::Padding::SAME : v1::Padding::VALID);
  return same || none ? x : PadSpatial(s, x, w.lo, w.hi);
}

void FinishToPytorch(Site& s, const Made& made, const v1::Activation& activation) {
  const int rank = static_cast<int>(s.results()[0].shape.size());
  const Layout layout{s.SpatialAxes(rank), {}, {}};
  const Activated y = Activate(s, activation, made.edge, layout);
  s.Put(y.edge, layout, y.non_negative);
}

void ConvToPytorch(Site& s) {
  const auto& a = s.As<v1::Conv>();
  const Window w = ConvWindowOf(s, a);
  v1::Layer layer = s.Draft(s.kind(), {"padding"});
  v1::Edge x = s.In(0, s.SpatialAxes(s.rank(0)));
  x = PadForPytorch(s, w, a.padding().mode() == v1::Padding::SAME, x, ConvOf(&layer));
  const Made made = s.Main(layer, {x});
  s.Move(made, "weight", {"kernel"}, KernelToPytorch());
  if (a.use_bias()) s.Move(made, "bias", {"bias"}, Copy());
  FinishToPytorch(s, made, a.activation());
}

// (C M, 1, k...) to (k..., C, M).
Recipe DepthwiseToKeras(int64_t channels) {
  return [channels](const std::vector<const Tensor*>& t) {
    const Shape& old = t[0]->shape();
    Shape split = {channels, old[0] / channels};
    split.insert(split.end(), old.begin() + 2, old.end());
    std::vector<int> order;
    for (size_t i = 2; i < split.size(); ++i) order.push_back(static_cast<int>(i));
    order.push_back(0);
    order.push_back(1);
    return Transposed(Reshaped(*t[0], split), order);
  };
}

// (k..., C, M) to (C M, 1, k...).
Recipe DepthwiseToPytorch() {
  return [](const std::vector<const Tensor*>& t) {
    const int axes = static_cast<int>(t[0]->shape().size()) - 2;
    std::vector<int> order = {axes, axes + 1};
    Shape shape = {t[0]->shape()[axes] * t[0]->shape()[axes + 1], 1};
    for (int i = 0; i < axes; ++i) {
      order.push_back(i);
      shape.push_back(t[0]->shape()[i]);
    }
    return Reshaped(Transposed(*t[0], order), shape);
  };
}

void ConvToKeras(Site& s) {
  const auto& a = s.As<v1::Conv>();
  const Window w = ConvWindowOf(s, a);
  const size_t axes = w.size.size();
  const int64_t channels = s.shape(0)[1];
  const bool padded = !AllEqual(w.lo, 0) || !AllEqual(w.hi, 0);
  if (a.padding_mode() != v1::Conv::ZEROS && padded) {
    s.Refuse("padding_mode",
             absl::StrCat("Keras pads with zeros only, got ", v1::Conv::PaddingMode_Name(a.padding_mode())));
  }
  // TensorFlow has kernels for groups of one channel, with equal strides.
  const bool depthwise = axes <= 2 && channels > 1 && a.groups() == channels && AllEqual(w.stride, w.stride[0]);
  v1::Layer layer = depthwise
                        ? s.Draft(Ranked("depthwise_conv", axes), {"padding", "padding_mode", "filters", "groups"})
                        : s.Draft(s.kind(), {"padding", "padding_mode"});
  v1::Padding padding;
  v1::Edge x = s.In(0, s.SpatialAxes(s.rank(0)));
  x = PadForKeras(s, w, x, &padding);
  if (depthwise) {
    auto* d = static_cast<v1::DepthwiseConv*>(MutableAttrs(&layer));
    d->set_depth_multiplier(a.filters() / channels);
    *d->mutable_padding() = padding;
  } else {
    *ConvOf(&layer)->mutable_padding() = padding;
  }
  const Made made = s.Main(layer, {x});
  s.Move(made, depthwise ? "depthwise_kernel" : "kernel", {"weight"},
         depthwise ? DepthwiseToKeras(channels) : KernelToKeras());
  if (a.use_bias()) s.Move(made, "bias", {"bias"}, Copy());
  s.Put(made.edge, {s.SpatialAxes(s.rank(0)), {}, {}});
}

// The depthwise half of both of Keras' layers, as a convolution in as many groups as there are channels.
template <typename M>
v1::Layer Depthwise(Site& s, const M& a, const Window& w, bool use_bias, v1::Edge* x) {
  const size_t axes = w.size.size();
  const int64_t channels = s.shape(0)[s.channels_first() ? 1 : s.rank(0) - 1];
  v1::Layer layer = MakeLayer(Ranked("conv", axes));
  if (s.layer().has_trainable()) layer.set_trainable(s.layer().trainable());
  v1::Conv* conv = ConvOf(&layer);
  conv->set_filters(channels * a.depth_multiplier());
  conv->set_groups(channels);
  conv->set_use_bias(use_bias);
  SetList(w.size, conv->mutable_kernel_size());
  SetList(w.stride, conv->mutable_stride());
  SetList(w.dilation, conv->mutable_dilation());
  *x = PadForPytorch(s, w, a.padding().mode() == v1::Padding::SAME, s.In(0, s.SpatialAxes(s.rank(0))), conv);
  return layer;
}

void DepthwiseConvToPytorch(Site& s) {
  const auto& a = s.As<v1::DepthwiseConv>();
  const Window w = ConvWindowOf(s, a);
  // For the fields that have no counterpart.
  s.Draft(Ranked("conv", w.size.size()), {"depth_multiplier"});
  v1::Edge x;
  const v1::Layer layer = Depthwise(s, a, w, a.use_bias(), &x);
  const Made made = s.Main(layer, {x});
  s.Move(made, "weight", {"depthwise_kernel"}, DepthwiseToPytorch());
  if (a.use_bias()) s.Move(made, "bias", {"bias"}, Copy());
  FinishToPytorch(s, made, a.activation());
}

void SeparableConvToPytorch(Site& s) {
  const auto& a = s.As<v1::SeparableConv>();
  const Window w = ConvWindowOf(s, a);
  s.Draft(Ranked("conv", w.size.size()), {"depth_multiplier"});
  v1::Edge x;
  const v1::Layer depthwise = Depthwise(s, a, w, false, &x);
  const Made first = s.Part("_depthwise", depthwise, {x});
  s.Move(first, "weight", {"depthwise_kernel"}, DepthwiseToPytorch());
  v1::Layer pointwise = MakeLayer(Ranked("conv", w.size.size()));
  if (s.layer().has_trainable()) pointwise.set_trainable(s.layer().trainable());
  ConvOf(&pointwise)->set_filters(a.filters());
  ConvOf(&pointwise)->add_kernel_size(1);
  ConvOf(&pointwise)->set_use_bias(a.use_bias());
  const Made made = s.Main(pointwise, {first.edge});
  s.Move(made, "weight", {"pointwise_kernel"}, KernelToPytorch());
  if (a.use_bias()) s.Move(made, "bias", {"bias"}, Copy());
  FinishToPytorch(s, made, a.activation());
}

}  // namespace

std::vector<Record> ConvRecords() {
  std::vector<Record> records;
  const auto add = [&](std::string kind, v1::Dialect from, void (*rule)(Site&)) {
    records.push_back({.kind = std::move(kind), .from = from, .axes = Axes::kSpatial, .rule = rule});
  };
  for (size_t axes : {1, 2, 3}) {
    add(Ranked("conv", axes), v1::KERAS, &ConvToPytorch);
    add(Ranked("conv", axes), v1::PYTORCH, &ConvToKeras);
    if (axes == 3) continue;
    add(Ranked("depthwise_conv", axes), v1::KERAS, &DepthwiseConvToPytorch);
    add(Ranked("separable_conv", axes), v1::KERAS, &SeparableConvToPytorch);
  }
  return records;
}

}  // namespace strata::convert
