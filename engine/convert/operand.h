// A value of the old model and where its elements are in the new one.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/tensor.h"
#include "strata/v1/model.pb.h"

namespace strata::convert {

// Where the elements of a value stand in its counterpart.
struct Layout {
  // Axis i of the counterpart is axis axes[i] of the value. The batch axis stays first.
  std::vector<int> axes;
  // Of a value [N, features] that was flattened from axes in another order: the sizes of those axes in the
  // counterpart's order, and the place of each among the value's. Empty: features stand in the same order.
  Shape flat;
  std::vector<int> places;

  static Layout Plain(size_t rank);
  bool SameAxes() const;  // axes in the same order
  bool plain() const { return flat.empty() && SameAxes(); }
  // Place in the counterpart of the value's axis.
  int PlaceOf(int axis) const;
  // Feature i of the counterpart is feature FeatureOrder()[i] of the value. Only where `flat` is set.
  std::vector<int64_t> FeatureOrder() const;
  bool operator==(const Layout&) const = default;
};

struct Operand {
  Shape shape;  // in the old model, for the sizes of this conversion
  DType dtype = DType::kF32;
  v1::Edge edge;  // the counterpart; no call: see `parts` and `stack`
  Layout layout;
  bool non_negative = false;
  // Keras' states of recurrent layers are values of their own, PyTorch stacks them. To Keras: this value's entries
  // along axis 0.
  std::vector<v1::Edge> parts;
  // To PyTorch: the counterpart is entry `index` of this one.
  v1::Edge stack;
  int index = -1;
};

// The order of axes in which channels last becomes channels first, [0, r - 1, 1, ...], and back, [0, 2, ..., 1].
std::vector<int> LastToFirst(int rank);
std::vector<int> FirstToLast(int rank);

}  // namespace strata::convert
