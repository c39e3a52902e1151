// What the engine knows of one operation. Every op has one record; nothing else in the engine lists ops by hand but the
// kernels.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

namespace strata {

// A tensor of the reference interpreter: every type as double.
struct RefTensor {
  Shape shape;
  std::vector<double> data;
};

// Result types of a node.
using InferFn = absl::StatusOr<std::vector<ValueInfo>> (*)(const Attrs& attrs, std::span<const ValueInfo* const> in);

// Gradients of a node's inputs, as new nodes; empty values where none flows. `dy` has one entry per output, empty where
// no gradient arrives.
using VjpFn = std::vector<Value> (*)(Graph* g, NodeId node, std::span<const Value> dy);

// The oracle: naive, in double. `out` has the inferred shapes, zero-filled.
using ReferenceFn = void (*)(const Attrs& attrs, std::span<const RefTensor* const> in, std::span<RefTensor> out,
                             std::span<const DType> out_types);

struct OpRecord {
  Op op;
  InferFn infer;
  VjpFn vjp;  // null: no gradient flows through it
  ReferenceFn reference;
};

const OpRecord& RecordOf(Op op);

// Checks order, arity, types and shapes of every node by inferring them again. INTERNAL names the node.
absl::Status Verify(const Graph& graph);

// Rounds to what the type can hold (integers truncate, bool is 0 or 1). Floats stay double.
void RoundToType(DType type, RefTensor* t);

// The gradient of scan differentiates the body: it is defined in autodiff/scan.cc.
std::vector<Value> ScanVjp(Graph* g, NodeId node, std::span<const Value> dy);

// The records, by file.
std::span<const OpRecord> LeafRecords();
std::span<const OpRecord> ElementwiseRecords();
std::span<const OpRecord> MatMulRecords();
std::span<const OpRecord> ConvRecords();
std::span<const OpRecord> PoolRecords();
std::span<const OpRecord> ReduceRecords();
std::span<const OpRecord> MovementRecords();
std::span<const OpRecord> GatherRecords();
std::span<const OpRecord> ScanRecords();
std::span<const OpRecord> FusedRecords();

// Sums `dy` down to `shape`: the gradient of broadcasting.
Value SumTo(Value dy, const Shape& shape);

// NumPy's rule; INVALID_ARGUMENT names both shapes.
absl::StatusOr<Shape> BroadcastShape(const Shape& a, const Shape& b);

// Visits every index of `shape` in row-major order: f(flat index, coordinates).
template <typename F>
void ForEachIndex(const Shape& shape, F f) {
  const int64_t n = NumElements(shape);
  std::vector<int64_t> at(shape.size(), 0);
  for (int64_t i = 0; i < n; ++i) {
    f(i, at);
    for (size_t d = shape.size(); d-- > 0;) {
      if (++at[d] < shape[d]) break;
      at[d] = 0;
    }
  }
}

}  // namespace strata
