// Layers with several inputs, and dropout.
#include "engine/convert/rule.h"

namespace strata::convert {
namespace {

bool SameRanks(Site& s) {
  for (int i = 1; i < s.num_args(); ++i) {
    if (s.rank(i) != s.rank(0)) return false;
  }
  return true;
}

// All arguments in the first one's order; in the old order if they have different numbers of axes, which line up by
// place.
void Elementwise(Site& s) {
  Layout layout = s.arg(0).layout;
  bool same_features = true;
  bool non_negative = s.kind() != "subtract";
  for (int i = 0; i < s.num_args(); ++i) {
    same_features &= s.arg(i).layout.flat == layout.flat && s.arg(i).layout.places == layout.places;
    non_negative &= s.arg(i).non_negative;
  }
  if (!SameRanks(s)) layout = Layout::Plain(s.results()[0].shape.size());
  if (!same_features) layout = Layout::Plain(layout.axes.size());
  std::vector<v1::Edge> args;
  for (int i = 0; i < s.num_args(); ++i) {
    if (!SameRanks(s)) {
      args.push_back(s.Plain(i));
    } else {
      args.push_back(same_features && !layout.flat.empty() ? s.arg(i).edge : s.In(i, layout.axes));
    }
  }
  s.Put(s.Main(s.Draft(s.kind()), args).edge, layout, non_negative);
}

void Concatenate(Site& s) {
  const int64_t given = s.As<v1::Concatenate>().axis();
  const int rank = s.rank(0), axis = static_cast<int>(given < 0 ? given + rank : given);
  Layout layout = s.arg(0).layout;
  if (!layout.flat.empty()) layout = Layout::Plain(rank);
  v1::Layer layer = s.Draft("concatenate", {"axis"});
  const int place = layout.PlaceOf(axis);
  layer.mutable_concatenate()->set_axis(place == rank - 1 ? -1 : place);
  std::vector<v1::Edge> args;
  bool non_negative = true;
  for (int i = 0; i < s.num_args(); ++i) {
    args.push_back(s.In(i, layout.axes));
    non_negative &= s.arg(i).non_negative;
  }
  s.Put(s.Main(layer, args).edge, layout, non_negative);
}

}  // namespace

std::vector<Record> MergeRecords() {
  const v1::Dialect both = v1::DIALECT_UNSPECIFIED;
  std::vector<Record> records;
  for (const char* kind : {"add", "subtract", "multiply", "average", "maximum", "minimum"}) {
    records.push_back({.kind = kind, .from = both, .axes = Axes::kEach, .rule = &Elementwise});
  }
  records.push_back({.kind = "concatenate", .from = both, .axes = Axes::kEach, .rule = &Concatenate});
  records.push_back({.kind = "dot", .from = both, .to = "dot"});
  records.push_back({.kind = "dropout", .from = both, .axes = Axes::kEach, .to = "dropout"});
  records.push_back({.kind = "alpha_dropout", .from = both, .axes = Axes::kEach, .to = "alpha_dropout"});
  for (const char* kind : {"spatial_dropout1d", "spatial_dropout2d", "spatial_dropout3d"}) {
    records.push_back({.kind = kind, .from = both, .axes = Axes::kSpatial, .to = kind});
  }
  return records;
}

}  // namespace strata::convert
