// Building graphs: one function per operation, and the compositions that components share. Shapes and types are checked
// as nodes are added; the first error sticks to the graph, and every function takes and returns empty values quietly
// after it.
//
// Elementwise functions broadcast like NumPy. Scalars of C++ type double take the type of the other operand.
#pragma once

#include <span>
#include <vector>

#include "engine/graph/graph.h"

namespace strata {

// Adds a node after inferring its results; empty values after an error. The other functions are wrappers of this one.
std::vector<Value> Emit(Graph* g, Op op, Attrs attrs, std::span<const Value> inputs);

// Leaves.
Value Constant(Graph* g, Tensor value);
Value Scalar(Graph* g, double value, DType dtype = DType::kF32);
Value Full(Graph* g, double value, const Shape& shape, DType dtype = DType::kF32);  // a broadcast scalar
Value Iota(Graph* g, const Shape& shape, int axis, DType dtype);
// Uniform in [0, 1); `state` is the random state [2] (i64: seed, step), `stream` names the draw.
Value RandomUniform(Value state, uint64_t stream, const Shape& shape);

// Elementwise.
Value Unary(Op op, Value x);
Value Binary(Op op, Value a, Value b);
Value Cast(Value x, DType dtype);
Value Select(Value condition, Value a, Value b);
Value Neg(Value x);
Value Abs(Value x);
Value Sign(Value x);
Value Exp(Value x);
Value Log(Value x);
Value Log1p(Value x);
Value Expm1(Value x);
Value Sqrt(Value x);
Value Sigmoid(Value x);
Value Tanh(Value x);
Value Erf(Value x);
Value Floor(Value x);
Value Not(Value x);
Value Detach(Value x);        // no gradient flows through
Value Max(Value a, Value b);  // ties: the gradient goes to a
Value Min(Value a, Value b);  // ties: the gradient goes to a
Value Max(Value a, double b);
Value Min(Value a, double b);
Value Pow(Value a, Value b);
Value Square(Value x);
Value Less(Value a, Value b);
Value LessEqual(Value a, Value b);
Value Greater(Value a, Value b);
Value GreaterEqual(Value a, Value b);
Value Equal(Value a, Value b);
Value And(Value a, Value b);
Value Or(Value a, Value b);
Value operator+(Value a, Value b);
Value operator-(Value a, Value b);
Value operator*(Value a, Value b);
Value operator/(Value a, Value b);
Value operator-(Value a);
Value operator+(Value a, double b);
Value operator-(Value a, double b);
Value operator*(Value a, double b);
Value operator/(Value a, double b);
Value operator+(double a, Value b);
Value operator-(double a, Value b);
Value operator*(double a, Value b);
Value operator/(double a, Value b);
// A scalar constant of x's type.
Value Like(Value x, double value);
Value Relu(Value x);      // gradient 0 at 0
Value Softplus(Value x);  // log(1 + e^x), stable

// Products. MatMul broadcasts leading axes.
Value MatMul(Value a, Value b, bool transpose_a = false, bool transpose_b = false);
Value Conv(Value x, Value w, const ConvAttrs& attrs);

// Windows.
struct MaxPoolResult {
  Value y;
  Value position;  // i32, flattened spatial position
};
MaxPoolResult MaxPool(Value x, const PoolAttrs& attrs);
Value SumPool(Value x, const PoolAttrs& attrs);

// Reductions. Negative axes count from the end; empty axes reduce nothing, AllAxes everything.
std::vector<int64_t> AllAxes(Value x);
Value ReduceSum(Value x, std::vector<int64_t> axes, bool keepdims = false);
Value ReduceMean(Value x, std::vector<int64_t> axes, bool keepdims = false);
Value ReduceMax(Value x, std::vector<int64_t> axes, bool keepdims = false);  // ties share the gradient
Value ReduceMin(Value x, std::vector<int64_t> axes, bool keepdims = false);
Value SumAll(Value x);
Value MeanAll(Value x);
Value ArgMax(Value x, int axis);  // first maximum; i32
Value Softmax(Value x, int axis);
Value LogSoftmax(Value x, int axis);
Value LogSumExp(Value x, int axis, bool keepdims = false);

// Movement.
Value Reshape(Value x, Shape shape);  // one -1 is inferred
Value Transpose(Value x, std::vector<int64_t> permutation);
Value SwapAxes(Value x, int a, int b);
Value Pad(Value x, std::vector<int64_t> lo, std::vector<int64_t> hi, double value = 0);
Value Slice(Value x, std::vector<int64_t> start, std::vector<int64_t> size, std::vector<int64_t> step = {});
Value SliceAxis(Value x, int axis, int64_t start, int64_t size);
Value Concat(std::span<const Value> xs, int axis);
Value Stack(std::span<const Value> xs, int axis);
std::vector<Value> Split(Value x, int axis, int64_t parts);
Value Broadcast(Value x, const Shape& shape);
Value Reverse(Value x, std::vector<int64_t> axes);
Value ExpandDims(Value x, int axis);
Value Squeeze(Value x, int axis);

// Rows.
Value Gather(Value table, Value ids);
Value ScatterAdd(Value ids, Value updates, int64_t rows);
// x[..., label] without its last axis: the element of the last axis that `labels` names; 0 where the label is out of
// range.
Value PickLast(Value x, Value labels);
Value OneHot(Value labels, int64_t classes, DType dtype);

// Over time.
struct ScanResult {
  std::vector<Value> carry;
  std::vector<Value> sequences;
};
ScanResult Scan(Graph* g, Graph body, std::span<const Value> carry, std::span<const Value> sequences,
                std::span<const Value> constants, bool reverse, int64_t length);
// Where step `t` along `axis` of `x`, a sequence that a scan writes or its transpose, is a state that the scan carries
// out of its last step: that state with size 1 along `axis`. Otherwise nothing. Unlike the sequence, the state has a
// gradient that is not zero almost everywhere, and nobody need write the sequence for it. Slices know it.
Value FinalState(Value x, int axis, int64_t t);

}  // namespace strata
