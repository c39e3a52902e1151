// Dense and Linear, Embedding, PReLU.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"

namespace strata::convert {
namespace {

// A flattened input keeps its order of features: the kernel's rows follow it.
void Linear(Site& s) {
  const Layout layout = s.arg(0).layout;
  const int rank = s.rank(0);
  const bool reorder = !layout.flat.empty() && !s.shared();
  const v1::Edge x = reorder ? s.arg(0).edge : s.Plain(0);
  v1::Layer layer = s.Draft("linear");
  const Made made = s.Main(layer, {x});
  Recipe kernel = Transpose({1, 0});
  if (reorder) kernel = Then(Take(s.to_pytorch() ? 0 : 1, layout.FeatureOrder()), kernel);
  s.Move(made, s.to_pytorch() ? "weight" : "kernel", {s.to_pytorch() ? "kernel" : "weight"}, kernel);
  const auto& a = s.As<v1::Linear>();
  if (a.use_bias()) s.Move(made, "bias", {"bias"}, Copy());
  const Layout plain = Layout::Plain(rank);
  if (!s.to_pytorch()) return s.Put(made.edge, plain);
  const Activated y = Activate(s, a.activation(), made.edge, plain);
  s.Put(y.edge, plain, y.non_negative);
}

void Embedding(Site& s) {
  const auto& a = s.As<v1::Embedding>();
  if (s.to_pytorch() && a.mask_zero()) s.Refuse("mask_zero", "PyTorch's layers pass no masks on");
  const v1::Layer layer = s.Draft("embedding", {"mask_zero", "norm_type"});
  const v1::Edge ids = s.Plain(0);
  const Made made = s.Main(layer, {ids});
  s.Move(made, s.to_pytorch() ? "weight" : "embeddings", {s.to_pytorch() ? "embeddings" : "weight"}, Copy());
  s.Put(made.edge, Layout::Plain(s.rank(0) + 1));
}

// Slopes: PyTorch has one for all or one for each channel, Keras one for each element but for shared axes.
void PreluToKeras(Site& s) {
  const auto& a = s.As<v1::Prelu>();
  v1::Layer layer = s.Draft("prelu", {"num_parameters"});
  const v1::Edge x = s.arg(0).layout.flat.empty() ? AsItStands(s, 0) : s.Plain(0);
  const Layout layout = s.arg(0).layout.flat.empty() ? s.arg(0).layout : Layout::Plain(s.rank(0));
  Shape alpha(s.rank(0) - 1, 1);
  const int channels = a.num_parameters() == 1 ? -1 : layout.PlaceOf(1);
  for (int i = 1; i < s.rank(0); ++i) {
    if (i == channels) {
      alpha[i - 1] = a.num_parameters();
    } else {
      layer.mutable_prelu()->add_shared_axes(i);
    }
  }
  const Made made = s.Main(layer, {x});
  s.Move(made, "alpha", {"weight"}, Reshape(alpha));
  s.Put(made.edge, layout);
}

void PreluToPytorch(Site& s) {
  const auto& a = s.As<v1::Prelu>();
  v1::Layer layer = s.Draft("prelu", {"shared_axes"});
  const int rank = s.rank(0);
  std::vector<int> own;  // axes with slopes of their own
  for (int i = 1; i < rank; ++i) {
    if (std::count(a.shared_axes().begin(), a.shared_axes().end(), i) == 0 && s.shape(0)[i] > 1) own.push_back(i);
  }
  if (own.size() > 1) {
    return s.Refuse("shared_axes", "PyTorch has a slope for each channel and none for each place of an input");
  }
  Layout layout = s.arg(0).layout;
  v1::Edge x;
  if (own.empty()) {
    x = AsItStands(s, 0);
  } else {
    layer.mutable_prelu()->set_num_parameters(s.shape(0)[own[0]]);
    if (!layout.flat.empty() || layout.axes[1] != own[0]) {
      layout = Layout::Plain(rank);
      layout.axes.erase(layout.axes.begin() + own[0]);
      layout.axes.insert(layout.axes.begin() + 1, own[0]);
    }
    x = s.In(0, layout.axes);
  }
  const Made made = s.Main(layer, {x});
  s.Move(made, "weight", {"alpha"}, Reshape({own.empty() ? 1 : s.shape(0)[own[0]]}));
  s.Put(made.edge, layout);
}

}  // namespace

std::vector<Record> LinearRecords() {
  return {
      {.kind = "linear", .from = v1::DIALECT_UNSPECIFIED, .axes = Axes::kPlain, .rule = &Linear},
      {.kind = "embedding", .from = v1::DIALECT_UNSPECIFIED, .axes = Axes::kPlain, .rule = &Embedding},
      {.kind = "prelu", .from = v1::PYTORCH, .axes = Axes::kEach, .rule = &PreluToKeras},
      {.kind = "prelu", .from = v1::KERAS, .axes = Axes::kEach, .rule = &PreluToPytorch},
  };
}

}  // namespace strata::convert
