// Tensors in host memory: dense, row-major, 64-byte aligned.
//
//   Tensor t(DType::kF32, {2, 3});          // zeros
//   t.data<float>()[5] = 1;
//   TensorView v = t.view();                // borrowed; valid while `t` lives
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/dtype.h"
#include "engine/base/shape.h"

namespace strata {

// A borrowed tensor. The owner of the bytes must outlive it. `data` may be unaligned.
struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  const void* data = nullptr;

  int64_t num_elements() const { return NumElements(shape); }
  size_t size_bytes() const { return static_cast<size_t>(num_elements()) * SizeOf(dtype); }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};

// Owns its elements; moves cheaply, copies only by Clone().
class Tensor {
 public:
  Tensor() = default;
  // Zero-filled.
  Tensor(DType dtype, Shape shape);
  Tensor(Tensor&&) = default;
  Tensor& operator=(Tensor&&) = default;

  static Tensor CopyOf(const TensorView& view);
  static Tensor Scalar(double value, DType dtype = DType::kF32);
  template <typename T>
  static Tensor Of(DType dtype, Shape shape, const std::vector<T>& values);

  Tensor Clone() const { return CopyOf(view()); }

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i < 0 ? i + shape_.size() : i]; }
  int64_t num_elements() const { return NumElements(shape_); }
  size_t size_bytes() const { return static_cast<size_t>(num_elements()) * SizeOf(dtype_); }
  bool empty() const { return data_ == nullptr; }

  void* raw() { return data_.get(); }
  const void* raw() const { return data_.get(); }
  template <typename T>
  T* data() {
    return reinterpret_cast<T*>(data_.get());
  }
  template <typename T>
  const T* data() const {
    return reinterpret_cast<const T*>(data_.get());
  }
  TensorView view() const { return {dtype_, shape_, data_.get()}; }

  // Element `i` (flat index) as a double, whatever the type.
  double At(int64_t i) const;
  void Set(int64_t i, double value);

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  DType dtype_ = DType::kF32;
  Shape shape_;
  std::unique_ptr<std::byte, Free> data_;
};

template <typename T>
Tensor Tensor::Of(DType dtype, Shape shape, const std::vector<T>& values) {
  Tensor t(dtype, std::move(shape));
  for (size_t i = 0; i < values.size(); ++i) t.Set(static_cast<int64_t>(i), static_cast<double>(values[i]));
  return t;
}

// A copy with another element type.
Tensor Cast(const TensorView& view, DType dtype);

using NamedTensors = std::map<std::string, Tensor>;
using NamedViews = std::map<std::string, TensorView>;

}  // namespace strata
