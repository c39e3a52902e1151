// The closed set of operations, and their attributes. What each one computes stands in ops/ (one record per op: shape
// rule, gradient, double-precision reference); this header is only the vocabulary of the graph.
#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "engine/base/shape.h"
#include "engine/base/tensor.h"

namespace strata {

class Graph;

enum class Op : uint8_t {
  // Leaves.
  kInput,     // fed by the caller
  kVariable,  // weights, buffers, optimizer slots, random state: held by the session
  kConstant,  // a literal tensor
  kIota,      // 0, 1, 2, ... along one axis
  kRandom,    // uniform in [0, 1) from (state, stream, element index)
  // Elementwise, one operand.
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
  kCast,
  // Elementwise, two operands, with NumPy's broadcasting.
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
  kSelect,  // condition ? a : b
  // Products.
  kMatMul,          // [batch..., M, K] x [batch..., K, N]
  kConv,            // x [N, S..., C], w [K..., C/g, O] -> [N, S'..., O]
  kConvGradInput,   // dy, w -> dx
  kConvGradWeight,  // x, dy -> dw
  // Windows over the axes between the first and the last.
  kMaxPool,      // x -> y, position of the maximum in the flattened spatial axes
  kMaxPoolGrad,  // dy, positions -> dx; with near_ties dy, x, y -> dx
  kSumPool,      // x -> y
  kSumPoolGrad,  // dy -> dx
  // Reductions drop their axes.
  kReduceSum,
  kReduceMax,
  kReduceMin,
  kArgMax,
  kSoftmax,
  kLogSoftmax,  // last axis
  // Movement.
  kReshape,
  kTranspose,
  kPad,
  kSlice,
  kConcat,
  kBroadcast,
  kReverse,
  kGather,      // table [V, ...], ids -> [ids..., ...]
  kScatterAdd,  // ids, updates -> [V, ...]: the gradient of gather
  kDetach,      // the same number, but no gradient flows through; pruning drops it
  kScan,        // a body graph run over time
  kAssign,      // writes a variable after everything else has run
  kFused,       // a chain of elementwise ops, with reductions, in one pass over memory
};

const char* OpName(Op op);

struct NoAttrs {};
// Reductions, transpose (the permutation), reverse, concat, iota, argmax.
struct AxesAttrs {
  std::vector<int64_t> axes;
};
// Reshape, broadcast, scatter-add, iota: the result's shape.
struct ShapeAttrs {
  Shape shape;
  int64_t axis = 0;  // iota
  DType dtype = DType::kF32;
};
struct LiteralAttrs {
  std::shared_ptr<const Tensor> value;
};
struct CastAttrs {
  DType dtype;
};
struct VariableAttrs {
  int32_t index;  // into Graph::variables
};
struct RandomAttrs {
  uint64_t stream;
  Shape shape;
};
struct MatMulAttrs {
  bool transpose_a = false;
  bool transpose_b = false;
  bool bias = false;      // a third input [N] is added (passes)
  bool residual = false;  // or one of the result's shape (passes)
  bool relu = false;      // then max(0, .) (passes)
};
// One entry per spatial axis. Weights are [K..., C/g, O], or [O, C/g, K...] with `weights_oi`, PyTorch's layout, which
// passes set to save a transpose.
struct ConvAttrs {
  std::vector<int64_t> stride, pad_lo, pad_hi, dilation;
  int64_t groups = 1;
  bool weights_oi = false;
  Shape result;           // of the two gradients
  bool bias = false;      // a third input [O] is added (passes)
  bool residual = false;  // then the last input, of the result's shape (passes)
  bool relu = false;      // then max(0, .) (passes)
};
constexpr double kNearTie = 1e-5;  // TensorFlow's
// Window i of an axis covers start[i], start[i] + dilation, ... (length[i] cells), all inside the input.
struct PoolAttrs {
  struct Axis {
    std::vector<int64_t> start, length;
    int64_t dilation = 1;
  };
  std::vector<Axis> axes;
  Shape input;  // of the gradients
  // Of a maximum: every cell within kNearTie of it gets the whole gradient, and not the first one alone.
  bool near_ties = false;
};
struct PadAttrs {
  std::vector<int64_t> lo, hi;  // negative crops
  double value = 0;
};
struct SliceAttrs {
  std::vector<int64_t> start, size, step;
};
// Inputs: carried values, sequences (time first), constants. The body's inputs are the same with one step of each
// sequence; its outputs are the new carried values, then one step of each output sequence.
struct ScanAttrs {
  std::shared_ptr<const Graph> body;
  int32_t num_carry = 0;
  int32_t num_sequences = 0;
  int64_t length = 0;
  bool reverse = false;  // from the last step to the first
  // The gradient computes the steps again from their carried values and keeps nothing else of them.
  bool recompute = false;
};

// A fused elementwise program over registers. Register i < inputs is input i; instruction k writes register inputs + k.
struct FusedAttrs {
  struct Instruction {
    Op op;
    int16_t a = -1, b = -1, c = -1;  // registers
  };
  // How a register becomes an output of the node: as it is, or summed over everything, within rows or within columns.
  enum class Store : uint8_t { kFull, kSumAll, kSumRows, kSumColumns };
  struct Result {
    int16_t reg;
    Store store;
    int32_t variable = -1;  // written to this variable instead of a value, in the second phase
  };
  std::vector<Instruction> code;
  std::vector<Result> results;
  // Type and shape of each result.
  std::vector<DType> types;
  std::vector<Shape> shapes;
  // The iteration space. Operands broadcast to it by NumPy's rule. For sums, its first `row_axes` axes count the rows.
  Shape space;
  int32_t row_axes = 0;
};

using Attrs = std::variant<NoAttrs, AxesAttrs, ShapeAttrs, LiteralAttrs, CastAttrs, VariableAttrs, RandomAttrs,
                           MatMulAttrs, ConvAttrs, PoolAttrs, PadAttrs, SliceAttrs, ScanAttrs, FusedAttrs>;

constexpr bool IsUnary(Op op) { return op >= Op::kNeg && op <= Op::kCast; }
constexpr bool IsBinary(Op op) { return op >= Op::kAdd && op <= Op::kOr; }
constexpr bool IsElementwise(Op op) { return IsUnary(op) || IsBinary(op) || op == Op::kSelect; }

}  // namespace strata
