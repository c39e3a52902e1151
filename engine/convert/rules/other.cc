// Components as text, which are the same in both dialects, and components that the other dialect lacks.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/convert/rule.h"

namespace strata::convert {
namespace {

// The text says what happens, axis by axis: arguments stand in the old order.
void Custom(Site& s) {
  v1::Layer layer = s.layer();
  std::vector<v1::Edge> args;
  std::map<std::string, v1::Edge> named;
  for (int i = 0; i < s.num_args(); ++i) args.push_back(s.Plain(i));
  for (const auto& [name, x] : s.named()) named[name] = s.Bring(x, Layout::Plain(x->shape.size()).axes);
  const Made made = s.Main(layer, args, named);
  for (const nn::ParamSpec& p : s.params()) s.Move(made, p.name, {p.name}, Copy());
  for (size_t k = 0; k < s.results().size(); ++k) {
    s.Put(OutputOf(made.edge, static_cast<int>(k)), Layout::Plain(s.results()[k].shape.size()));
  }
}

}  // namespace

std::vector<Record> OtherRecords() {
  std::vector<Record> records = {
      {.kind = "custom", .from = v1::DIALECT_UNSPECIFIED, .rule = &Custom},
      {.kind = "hardswish", .from = v1::PYTORCH, .axes = Axes::kEach, .reason = "Keras 2 has no hard swish"},
      {.kind = "log_sigmoid", .from = v1::PYTORCH, .axes = Axes::kEach, .reason = "Keras 2 has no log of a sigmoid"},
      {.kind = "cosine_similarity",
       .from = v1::PYTORCH,
       .reason = "Keras' Dot keeps an axis and bounds norms otherwise"},
      {.kind = "adaptive_log_softmax", .from = v1::PYTORCH, .reason = "Keras has no classes in clusters"},
      {.kind = "dense_features", .from = v1::KERAS, .reason = "PyTorch has no feature columns"},
      {.kind = "unfold", .from = v1::PYTORCH, .axes = Axes::kSpatial, .reason = "Keras has no windows as columns"},
      {.kind = "fold", .from = v1::PYTORCH, .reason = "Keras has no sum of columns"},
  };
  for (const char* axes : {"1d", "2d", "3d"}) {
    for (const char* kind : {"replication_pad", "reflection_pad", "circular_pad"}) {
      records.push_back({.kind = absl::StrCat(kind, axes),
                         .from = v1::PYTORCH,
                         .axes = Axes::kSpatial,
                         .reason = "Keras pads with zeros only"});
    }
    records.push_back({.kind = absl::StrCat("conv_lstm", axes),
                       .from = v1::KERAS,
                       .reason = "PyTorch has no recurrence over convolutions"});
  }
  for (const char* kind : {"fractional_max_pool2d", "fractional_max_pool3d"}) {
    records.push_back(
        {.kind = kind, .from = v1::PYTORCH, .axes = Axes::kSpatial, .reason = "Keras has no random windows"});
  }
  for (const char* kind : {"locally_connected1d", "locally_connected2d"}) {
    records.push_back({.kind = kind,
                       .from = v1::KERAS,
                       .axes = Axes::kSpatial,
                       .reason = "PyTorch's convolutions share their weights between places"});
  }
  return records;
}

}  // namespace strata::convert
