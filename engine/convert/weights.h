// How one parameter follows from parameters of the other dialect.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/base/tensor.h"

namespace strata::convert {

using Recipe = std::function<Tensor(const std::vector<const Tensor*>& sources)>;

struct WeightMove {
  std::string target;
  std::vector<std::string> sources;  // full names in the old model; may be none
  Recipe recipe;
};

// Axis i of the result is axis order[i] of the tensor.
Tensor Transposed(const Tensor& t, const std::vector<int>& order);
// Entry i along `axis` is entry indices[i] of the tensor.
Tensor Taken(const Tensor& t, int axis, const std::vector<int64_t>& indices);
Tensor Reshaped(const Tensor& t, Shape shape);
Tensor Sum(const Tensor& a, const Tensor& b);
// Along axis 0.
Tensor Stacked(const std::vector<const Tensor*>& rows);
Tensor Concatenated(const std::vector<const Tensor*>& parts);

Recipe Copy();
Recipe Transpose(std::vector<int> order);
// The last two axes come first, in reverse: (k..., in, out) to (out, in, k...).
Recipe KernelToPytorch();
// And back.
Recipe KernelToKeras();
Recipe Fill(Shape shape, double value, DType dtype = DType::kF32);
// `first`, then `second` on its result.
Recipe Then(Recipe first, Recipe second);
Recipe Take(int axis, std::vector<int64_t> indices);
Recipe Reshape(Shape shape);

}  // namespace strata::convert
