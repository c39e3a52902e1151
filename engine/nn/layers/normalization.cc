#include "engine/nn/layers/normalization.h"

#include "absl/strings/str_cat.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/ops/ops.h"

namespace strata::nn {

Moments MomentsOf(Value x, const std::vector<int64_t>& axes, Value weights) {
  Moments m;
  for (int64_t a : axes) m.count *= static_cast<double>(x.dim(static_cast<int>(a)));
  Value total;
  if (weights) {
    const Value sum = ReduceSum(weights, axes, true);
    total = Select(Equal(sum, Like(sum, 0)), Like(sum, 1), sum);
  }
  // Divided, not multiplied by a rounded 1 / count: the mean of equal numbers must be that number.
  const auto mean = [&](Value v) {
    return weights ? ReduceSum(v * weights, axes, true) / total : ReduceSum(v, axes, true) / m.count;
  };
  m.mean = mean(x);
  // The variance's derivative by the mean is zero: the sum of x - mean. Saying so saves a pass over x in the backward
  // pass.
  m.variance = mean(Square(x - Detach(m.mean)));
  return m;
}

Value Normalize(Value x, const Moments& m, double epsilon, Value scale, Value offset) {
  Value factor = 1.0 / Sqrt(m.variance + epsilon);
  if (scale) factor = factor * scale;
  const Value y = (x - m.mean) * factor;
  return offset ? y + offset : y;
}

Value Standardize(Value x, const std::vector<int64_t>& axes, double epsilon, Value weights) {
  return Normalize(x, MomentsOf(x, axes, weights), epsilon);
}

Value LayerNormOf(Scope& s, Value x, double epsilon, bool use_bias) {
  Value y = Standardize(x, {x.rank() - 1}, epsilon);
  y = y * s.Param("weight", {x.dim(-1)}, {.initializer = ConstantValue(1)});
  return use_bias ? y + s.Param("bias", {x.dim(-1)}, {.initializer = ConstantValue(0)}) : y;
}

Value ScaleOffset::Apply(Value y) const {
  if (scale) y = y * scale;
  return offset ? y + offset : y;
}

ScaleOffset WeightBias(Scope& s, bool affine, bool use_bias, const Shape& shape, const Shape& spread) {
  ScaleOffset p;
  if (affine) p.scale = Reshape(s.Param("weight", shape, {.initializer = ConstantValue(1)}), spread);
  if (affine && use_bias) p.offset = Reshape(s.Param("bias", shape, {.initializer = ConstantValue(0)}), spread);
  return p;
}

std::vector<int64_t> LastAxes(Scope& s, const google::protobuf::RepeatedField<int64_t>& sizes, Value x) {
  std::vector<int64_t> axes;
  const int count = static_cast<int>(sizes.size());
  for (int i = 0; i < count; ++i) {
    const int axis = x.rank() - count + i;
    if (axis < 0 || x.dim(axis) != *(sizes.begin() + i)) {
      s.Fail(absl::StrCat("normalized_shape|input: must be the input's last axes, got ", ShapeString(x.shape())));
      return {};
    }
    axes.push_back(axis);
  }
  if (axes.empty()) s.Fail("normalized_shape: must not be empty, got none");
  return axes;
}

}  // namespace strata::nn
