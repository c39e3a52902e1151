// Activations: layers of their own in both dialects, and fields of Keras' layers.
#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"
#include "engine/nn/schema.h"

namespace strata::convert {
namespace {

using google::protobuf::Message;

// Whether outputs are never negative, whatever the input.
bool IsNonNegative(const v1::Layer& layer) {
  switch (layer.kind_case()) {
    case v1::Layer::kRelu:
      return layer.relu().negative_slope() == 0;
    case v1::Layer::kRelu6:
    case v1::Layer::kSigmoid:
    case v1::Layer::kSoftmax:
    case v1::Layer::kSoftplus:
    case v1::Layer::kHardSigmoid:
    case v1::Layer::kExponential:
      return true;
    case v1::Layer::kHardtanh:
      return layer.hardtanh().min_value() >= 0;
    case v1::Layer::kThreshold:
      return layer.threshold().threshold() >= 0 && layer.threshold().value() >= 0;
    default:
      return false;
  }
}

// Place in the counterpart of an axis of a value of `rank` axes.
int64_t MovedAxis(int64_t axis, int rank, const Layout& layout) {
  return layout.PlaceOf(static_cast<int>(axis < 0 ? axis + rank : axis));
}

// Keras' general relu in PyTorch's words.
v1::Layer ReluToPytorch(Site& s, const v1::Relu& a) {
  const bool bounded = a.has_max_value(), sloped = a.negative_slope() != 0, shifted = a.threshold() != 0;
  if (bounded + sloped + shifted > 1) {
    s.Refuse("", "PyTorch has no relu with more than one of max_value, negative_slope and threshold");
  }
  v1::Layer layer = MakeLayer(bounded   ? (a.max_value() == 6 ? "relu6" : "hardtanh")
                              : sloped  ? "leaky_relu"
                              : shifted ? "threshold"
                                        : "relu");
  if (layer.has_hardtanh()) {
    if (a.max_value() == 0) s.Refuse("max_value", "PyTorch's bounds must differ, got 0");
    layer.mutable_hardtanh()->set_min_value(0);
    layer.mutable_hardtanh()->set_max_value(a.max_value());
  } else if (layer.has_leaky_relu()) {
    layer.mutable_leaky_relu()->set_negative_slope(a.negative_slope());
  } else if (layer.has_threshold()) {
    layer.mutable_threshold()->set_threshold(a.threshold());
    layer.mutable_threshold()->set_value(0);
  }
  return layer;
}

// The layer of PyTorch's dialect that a Keras activation is; both unions name their members alike.
v1::Layer ActivationLayerOf(Site& s, const v1::Activation& activation, const Layout& layout) {
  const auto* kind = nn::KindOf(activation);
  const int rank = static_cast<int>(layout.axes.size());
  if (activation.has_relu()) return ReluToPytorch(s, activation.relu());
  if (activation.has_silu() && activation.silu().has_beta() && activation.silu().beta() != 1) {
    s.Refuse("silu.beta", absl::StrCat("PyTorch's is 1, got ", activation.silu().beta()));
  }
  if (activation.has_hard_sigmoid()) {
    s.Refuse("hard_sigmoid", "Keras' is clip(0.2 x + 0.5, 0, 1), PyTorch's clip(x / 6 + 0.5, 0, 1)");
  }
  v1::Layer layer = MakeLayer(activation.has_linear() ? "identity" : kind->name());
  if (activation.has_softmax()) {
    const v1::Softmax& a = activation.softmax();
    if (a.axes_size() > 1) s.Refuse("softmax.axes", "PyTorch's softmax has one axis, got more");
    layer.mutable_softmax()->set_axis(MovedAxis(a.axes_size() == 1 ? a.axes(0) : a.axis(), rank, layout));
  } else if (activation.has_log_softmax()) {
    layer.mutable_log_softmax()->set_axis(MovedAxis(activation.log_softmax().axis(), rank, layout));
  } else if (!activation.has_linear() && !activation.has_silu()) {
    MutableAttrs(&layer)->CopyFrom(activation.GetReflection()->GetMessage(activation, kind));
  }
  return layer;
}

// A Keras layer that is an activation, as one.
v1::Activation ActivationOf(const v1::Layer& layer) {
  if (layer.has_activation()) return layer.activation().activation();
  v1::Activation activation;
  const auto* kind = nn::KindOf(layer);
  const std::string member = layer.has_identity() ? "linear" : kind->name();
  const auto* field = v1::Activation::descriptor()->FindFieldByName(member);
  activation.GetReflection()->MutableMessage(&activation, field)->CopyFrom(AttrsOf(layer));
  return activation;
}

bool HasAxis(const v1::Activation& a) { return a.has_softmax() || a.has_log_softmax(); }

void ActivationToPytorch(Site& s) {
  const v1::Activation activation = ActivationOf(s.layer());
  if (!s.named().empty()) s.Refuse("mask", "PyTorch's activations take no mask");
  const bool plain = HasAxis(activation) && !s.arg(0).layout.flat.empty();
  const v1::Edge x = plain ? s.Plain(0) : AsItStands(s, 0);
  const Layout layout = plain ? Layout::Plain(s.rank(0)) : s.arg(0).layout;
  v1::Layer layer = ActivationLayerOf(s, activation, layout);
  const bool identity = layer.has_identity();
  s.Put(s.Main(layer, {x}).edge, layout, identity ? s.arg(0).non_negative : IsNonNegative(layer));
}

// Keras has classes for some activations and names for all: the others become `Activation`.
v1::Layer KerasForm(const v1::Layer& layer) {
  const auto* kind = nn::KindOf(layer);
  if (nn::SchemaOfComponent(kind).keras_size() > 0) return layer;
  v1::Layer named = MakeLayer("activation");
  if (layer.has_trainable()) named.set_trainable(layer.trainable());
  v1::Activation* a = named.mutable_activation()->mutable_activation();
  const auto* field = v1::Activation::descriptor()->FindFieldByName(layer.has_identity() ? "linear" : kind->name());
  a->GetReflection()->MutableMessage(a, field)->CopyFrom(AttrsOf(layer));
  return named;
}

void ActivationToKeras(Site& s) {
  const int rank = s.rank(0);
  const bool has_axis = s.layer().has_softmax() || s.layer().has_log_softmax();
  const bool plain = has_axis && !s.arg(0).layout.flat.empty();
  const v1::Edge x = plain ? s.Plain(0) : AsItStands(s, 0);
  const Layout layout = plain ? Layout::Plain(rank) : s.arg(0).layout;
  if (s.layer().has_hard_sigmoid()) {
    return s.Refuse("", "Keras' is clip(0.2 x + 0.5, 0, 1), PyTorch's clip(x / 6 + 0.5, 0, 1)");
  }
  v1::Layer layer = s.Draft(s.kind(), {"axis", "beta", "threshold"});
  if (has_axis) {
    // Without an axis PyTorch takes 0 for one and three axes, otherwise 1.
    const auto axis_of = [&](const auto& a) {
      const int64_t place = MovedAxis(a.has_axis() ? a.axis() : (rank == 1 || rank == 3 ? 0 : 1), rank, layout);
      return place == rank - 1 ? -1 : place;
    };
    if (s.layer().has_softmax()) layer.mutable_softmax()->set_axis(axis_of(s.layer().softmax()));
    if (s.layer().has_log_softmax()) layer.mutable_log_softmax()->set_axis(axis_of(s.layer().log_softmax()));
  }
  if (s.layer().has_softplus() && s.layer().softplus().beta() != 1) {
    s.Refuse("beta", absl::StrCat("Keras' softplus has none, got ", s.layer().softplus().beta()));
  }
  // Up to 15 the softplus differs from its input by more than float32 tells apart.
  if (s.layer().has_softplus() && s.layer().softplus().threshold() < 15) {
    s.Refuse("threshold", absl::StrCat("Keras' softplus has none, got ", s.layer().softplus().threshold()));
  }
  const bool identity = s.layer().has_identity();
  s.Put(s.Main(KerasForm(layer), {x}).edge, layout, identity ? s.arg(0).non_negative : IsNonNegative(s.layer()));
}

void HardtanhToKeras(Site& s) {
  const auto& a = s.As<v1::Hardtanh>();
  if (a.min_value() != 0) {
    return s.Refuse("min_value", absl::StrCat("Keras' relu is bounded below by 0, got ", a.min_value()));
  }
  v1::Layer layer = s.Draft("relu", {"min_value", "max_value"});
  layer.mutable_relu()->set_max_value(a.max_value());
  const v1::Edge x = AsItStands(s, 0);
  s.Put(s.Main(layer, {x}).edge, s.arg(0).layout, true);
}

void ThresholdToKeras(Site& s) {
  const auto& a = s.As<v1::Threshold>();
  if (a.value() != 0) s.Refuse("value", absl::StrCat("Keras replaces by 0, got ", a.value()));
  if (a.threshold() < 0) s.Refuse("threshold", absl::StrCat("Keras' is at least 0, got ", a.threshold()));
  v1::Layer layer = s.Draft("thresholded_relu", {"threshold", "value"});
  layer.mutable_thresholded_relu()->set_theta(a.threshold());
  const v1::Edge x = AsItStands(s, 0);
  s.Put(s.Main(layer, {x}).edge, s.arg(0).layout, true);
}

void ThresholdedReluToPytorch(Site& s) {
  v1::Layer layer = s.Draft("threshold", {"theta"});
  layer.mutable_threshold()->set_threshold(s.As<v1::ThresholdedRelu>().theta());
  layer.mutable_threshold()->set_value(0);
  const v1::Edge x = AsItStands(s, 0);
  s.Put(s.Main(layer, {x}).edge, s.arg(0).layout, true);
}

}  // namespace

Activated Activate(Site& s, const v1::Activation& activation, const v1::Edge& edge, const Layout& layout) {
  if (nn::KindOf(activation) == nullptr || activation.has_linear()) return {edge, false};
  const v1::Layer layer = ActivationLayerOf(s, activation, layout);
  return {s.Helper(absl::StrCat("_", nn::KindOf(layer)->name()), layer, {edge}), IsNonNegative(layer)};
}

std::vector<Record> ActivationRecords() {
  std::vector<Record> records;
  for (const char* kind :
       {"sigmoid", "softmax", "tanh", "relu", "leaky_relu", "elu", "selu", "silu", "gelu", "log_softmax", "softplus",
        "softsign", "hard_sigmoid", "mish", "relu6", "exponential", "identity"}) {
    records.push_back({.kind = kind, .from = v1::KERAS, .axes = Axes::kEach, .rule = &ActivationToPytorch});
    records.push_back({.kind = kind, .from = v1::PYTORCH, .axes = Axes::kEach, .rule = &ActivationToKeras});
  }
  records.push_back({.kind = "activation", .from = v1::KERAS, .axes = Axes::kEach, .rule = &ActivationToPytorch});
  records.push_back({.kind = "hardtanh", .from = v1::PYTORCH, .axes = Axes::kEach, .rule = &HardtanhToKeras});
  records.push_back({.kind = "threshold", .from = v1::PYTORCH, .axes = Axes::kEach, .rule = &ThresholdToKeras});
  records.push_back(
      {.kind = "thresholded_relu", .from = v1::KERAS, .axes = Axes::kEach, .rule = &ThresholdedReluToPytorch});
  return records;
}

}  // namespace strata::convert
