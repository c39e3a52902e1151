// What the kernels of matrix products read of a node.
#pragma once

#include "engine/kernels/kernel.h"

namespace strata {

// y = a b, for each entry of a batch: a is [m, k], or [k, m] with `ta`; b is [k, n], or [n, k] with `tb`.
struct Product {
  int64_t batch, m, k, n;
  bool ta, tb, bias, residual, relu;
};

inline Product ProductOf(const KernelRequest& r) {
  const auto& at = r.node.as<MatMulAttrs>();
  const Shape &a = r.in(0).shape, &y = r.out(0).shape;
  const size_t rank = a.size();
  return {NumElements(std::span(a).first(rank - 2)),
          y[rank - 2],
          at.transpose_a ? a[rank - 2] : a[rank - 1],
          y[rank - 1],
          at.transpose_a,
          at.transpose_b,
          at.bias,
          at.residual,
          at.relu};
}

}  // namespace strata
