// Vector primitives over blocks of floats, chosen once for the machine's widest vectors. Booleans are 0.0f and 1.0f
// inside blocks.
//
//   const VectorOps& v = GetVectorOps();
//   v.block[static_cast<int>(BlockOpOf(Op::kAdd))](y, a, b, nullptr, n);
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/graph/op.h"

namespace strata {

// The elementwise ops, in the order of Op, then combinations that one instruction computes.
enum class BlockOp : uint8_t {
  kNeg,
  kAbs,
  kSign,
  kExp,
  kExpm1,
  kLog,
  kLog1p,
  kSqrt,
  kSigmoid,
  kTanh,
  kErf,
  kFloor,
  kNot,
  kIsFinite,
  kCopy,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMax,
  kMin,
  kPow,
  kLess,
  kLessEqual,
  kEqual,
  kAnd,
  kOr,
  kSelect,
  kMulAdd,        // a b + c
  kNegMulAdd,     // c - a b
  kMulSub,        // a b - c
  kRelu,          // a <= 0 ? 0 : a (a NaN stays)
  kReluGrad,      // a <= 0 ? 0 : b
  kSubMul,        // (a - b) c
  kSubSquare,     // (a - b) (a - b)
  kSubSquareAdd,  // (a - b) (a - b) + c
  // The running means and the step of optimizers.
  kLerp,        // c + (a - c) b
  kLerpSquare,  // c + (a a - c) b
  kSqrtMulAdd,  // sqrt(a) b + c
  kSubDiv,      // c - a / b
  kCount
};

// Elementwise ops only.
static_assert(static_cast<int>(BlockOp::kSelect) - static_cast<int>(BlockOp::kNeg) ==
              static_cast<int>(Op::kSelect) - static_cast<int>(Op::kNeg));
inline BlockOp BlockOpOf(Op op) {
  return static_cast<BlockOp>(static_cast<int>(BlockOp::kNeg) + static_cast<int>(op) - static_cast<int>(Op::kNeg));
}

// y[i] = f(a[i], b[i], c[i]) for i < n. `y` may be one of the operands; operands that the op has not are ignored.
using BlockFn = void (*)(float* y, const float* a, const float* b, const float* c, size_t n);

struct VectorOps {
  BlockFn block[static_cast<int>(BlockOp::kCount)];
  // The same with operands that are one number for the whole block: bit 0 of the second index for a, bit 1 for b, bit 2
  // for c. Null where there is none.
  BlockFn single[static_cast<int>(BlockOp::kCount)][8];
  // Sums in a fixed order of lanes.
  float (*sum)(const float* x, size_t n);
  float (*dot)(const float* x, const float* y, size_t n);
  // The dot product; *sum = the sum of x.
  float (*dot_and_sum)(const float* x, const float* y, size_t n, float* sum);
  // The sum of (x - y)^2; of (x - *y)^2.
  float (*distance)(const float* x, const float* y, size_t n);
  float (*distance_to_one)(const float* x, const float* y, size_t n);
  // products += x y; sums += x.
  void (*add_products_and_values)(float* products, float* sums, const float* x, const float* y, size_t n);
  // Any NaN makes the result NaN. n > 0.
  float (*max)(const float* x, size_t n);
  float (*min)(const float* x, size_t n);
  // y = e^(x - shift); returns the sum of y.
  float (*exp_shift_sum)(float* y, const float* x, float shift, size_t n);
  // y = x a + b.
  void (*affine)(float* y, const float* x, float a, float b, size_t n);
  void (*from_bool)(float* y, const uint8_t* x, size_t n);
  void (*to_bool)(uint8_t* y, const float* x, size_t n);
  // To the nearest bfloat16; ties to even. A NaN stays one.
  void (*to_bf16)(uint16_t* y, const float* x, size_t n);
  // y[c] = the maximum over k < count of x[cells[k] * channels + c], and (unless null) position[c] the first cell that
  // has it. A NaN beats everything. count > 0.
  void (*max_cells)(float* y, int32_t* position, const float* x, const int32_t* cells, size_t count, size_t channels);
  // Adds dy[c] to (or with `set`, sets) dx[cells[k] * channels + c] where position[c] is cells[k], and 0 elsewhere.
  void (*max_cells_grad)(float* dx, const float* dy, const int32_t* position, const int32_t* cells, size_t count,
                         size_t channels, bool set);
  // y[c] = the sum over k < count of x[cells[k] * channels + c].
  void (*sum_cells)(float* y, const float* x, const int32_t* cells, size_t count, size_t channels);
  // y[i] = uniform number `first * 4 + i` of Philox's stream (key, counter_hi), i < n.
  void (*uniform)(float* y, uint64_t key, uint64_t first, uint64_t counter_hi, size_t n);
};

const VectorOps& GetVectorOps();

}  // namespace strata
