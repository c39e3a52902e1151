#include "engine/convert/weights.h"

#include <cstring>
#include <numeric>

#include "engine/base/status.h"

namespace strata::convert {

Tensor Transposed(const Tensor& t, const std::vector<int>& order) {
  const Shape strides = Strides(t.shape());
  Shape shape, steps;
  for (int axis : order) {
    shape.push_back(t.shape()[axis]);
    steps.push_back(strides[axis]);
  }
  Tensor out(t.dtype(), shape);
  const size_t size = SizeOf(t.dtype());
  const auto* from = static_cast<const char*>(t.raw());
  auto* to = static_cast<char*>(out.raw());
  std::vector<int64_t> at(order.size(), 0);
  int64_t offset = 0;
  for (int64_t i = 0, n = out.num_elements(); i < n; ++i) {
    std::memcpy(to + i * size, from + offset * size, size);
    for (size_t axis = order.size(); axis-- > 0;) {
      offset += steps[axis];
      if (++at[axis] < shape[axis]) break;
      offset -= steps[axis] * shape[axis];
      at[axis] = 0;
    }
  }
  return out;
}

Tensor Taken(const Tensor& t, int axis, const std::vector<int64_t>& indices) {
  Shape shape = t.shape();
  const int64_t count = shape[axis], inner = Strides(shape)[axis];
  const int64_t outer = count == 0 ? 0 : t.num_elements() / (count * inner);
  shape[axis] = static_cast<int64_t>(indices.size());
  Tensor out(t.dtype(), shape);
  const size_t row = SizeOf(t.dtype()) * inner;
  const auto* from = static_cast<const char*>(t.raw());
  auto* to = static_cast<char*>(out.raw());
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t index : indices) {
      std::memcpy(to, from + (o * count + index) * row, row);
      to += row;
    }
  }
  return out;
}

Tensor Reshaped(const Tensor& t, Shape shape) {
  STRATA_CHECK(NumElements(shape) == t.num_elements());
  Tensor out(t.dtype(), std::move(shape));
  if (out.size_bytes() > 0) std::memcpy(out.raw(), t.raw(), out.size_bytes());
  return out;
}

Tensor Sum(const Tensor& a, const Tensor& b) {
  Tensor out = a.Clone();
  for (int64_t i = 0; i < out.num_elements(); ++i) out.Set(i, a.At(i) + b.At(i));
  return out;
}

Tensor Concatenated(const std::vector<const Tensor*>& parts) {
  Shape shape = parts[0]->shape();
  shape[0] = 0;
  for (const Tensor* part : parts) shape[0] += part->shape()[0];
  Tensor out(parts[0]->dtype(), shape);
  auto* to = static_cast<char*>(out.raw());
  for (const Tensor* part : parts) {
    if (part->size_bytes() > 0) std::memcpy(to, part->raw(), part->size_bytes());
    to += part->size_bytes();
  }
  return out;
}

Tensor Stacked(const std::vector<const Tensor*>& rows) {
  Shape shape = rows[0]->shape();
  shape.insert(shape.begin(), static_cast<int64_t>(rows.size()));
  if (rows[0]->shape().empty()) {
    Tensor out(rows[0]->dtype(), shape);
    for (size_t i = 0; i < rows.size(); ++i) out.Set(static_cast<int64_t>(i), rows[i]->At(0));
    return out;
  }
  return Reshaped(Concatenated(rows), std::move(shape));
}

Recipe Copy() {
  return [](const std::vector<const Tensor*>& t) { return t[0]->Clone(); };
}

Recipe Transpose(std::vector<int> order) {
  return [order = std::move(order)](const std::vector<const Tensor*>& t) { return Transposed(*t[0], order); };
}

Recipe KernelToPytorch() {
  return [](const std::vector<const Tensor*>& t) {
    const int rank = static_cast<int>(t[0]->shape().size());
    std::vector<int> order = {rank - 1, rank - 2};
    for (int i = 0; i + 2 < rank; ++i) order.push_back(i);
    return Transposed(*t[0], order);
  };
}

Recipe KernelToKeras() {
  return [](const std::vector<const Tensor*>& t) {
    std::vector<int> order;
    for (int i = 2; i < static_cast<int>(t[0]->shape().size()); ++i) order.push_back(i);
    order.push_back(1);
    order.push_back(0);
    return Transposed(*t[0], order);
  };
}

Recipe Fill(Shape shape, double value, DType dtype) {
  return [shape = std::move(shape), value, dtype](const std::vector<const Tensor*>&) {
    Tensor out(dtype, shape);
    for (int64_t i = 0; i < out.num_elements(); ++i) out.Set(i, value);
    return out;
  };
}

Recipe Then(Recipe first, Recipe second) {
  return [first = std::move(first), second = std::move(second)](const std::vector<const Tensor*>& t) {
    const Tensor middle = first(t);
    return second({&middle});
  };
}

Recipe Take(int axis, std::vector<int64_t> indices) {
  return
      [axis, indices = std::move(indices)](const std::vector<const Tensor*>& t) { return Taken(*t[0], axis, indices); };
}

Recipe Reshape(Shape shape) {
  return [shape = std::move(shape)](const std::vector<const Tensor*>& t) { return Reshaped(*t[0], shape); };
}

}  // namespace strata::convert
