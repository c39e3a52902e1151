#include "engine/convert/operand.h"

#include <algorithm>
#include <numeric>

namespace strata::convert {

Layout Layout::Plain(size_t rank) {
  Layout layout;
  layout.axes.resize(rank);
  std::iota(layout.axes.begin(), layout.axes.end(), 0);
  return layout;
}

bool Layout::SameAxes() const { return std::is_sorted(axes.begin(), axes.end()); }

int Layout::PlaceOf(int axis) const {
  return static_cast<int>(std::find(axes.begin(), axes.end(), axis) - axes.begin());
}

std::vector<int64_t> Layout::FeatureOrder() const {
  Shape old_sizes(flat.size());
  for (size_t i = 0; i < flat.size(); ++i) old_sizes[places[i]] = flat[i];
  const Shape old_strides = Strides(old_sizes);
  std::vector<int64_t> order(NumElements(flat));
  std::vector<int64_t> at(flat.size(), 0);
  for (int64_t& feature : order) {
    for (size_t i = 0; i < flat.size(); ++i) feature += at[i] * old_strides[places[i]];
    for (size_t i = flat.size(); i-- > 0;) {
      if (++at[i] < flat[i]) break;
      at[i] = 0;
    }
  }
  return order;
}

std::vector<int> LastToFirst(int rank) {
  std::vector<int> axes = {0, rank - 1};
  for (int i = 1; i + 1 < rank; ++i) axes.push_back(i);
  return axes;
}

std::vector<int> FirstToLast(int rank) {
  std::vector<int> axes = {0};
  for (int i = 2; i < rank; ++i) axes.push_back(i);
  axes.push_back(1);
  return axes;
}

}  // namespace strata::convert
