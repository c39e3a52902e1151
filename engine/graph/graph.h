// The one intermediate representation: a list of nodes in topological order over typed, shaped values. Gradients,
// optimizer updates and fused operations are ordinary nodes. Shapes are concrete: a graph is built for one signature.
//
//   Graph g;
//   Value x = g.AddInput("x", DType::kF32, {2, 3});
//   Value y = Relu(x);            // ops/ops.h
//   g.MarkOutput("y", y);
//   if (!g.status().ok()) ...     // the first error sticks; later ops return empty values
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "engine/base/tensor.h"
#include "engine/graph/op.h"

namespace strata {

using ValueId = int32_t;
using NodeId = int32_t;

// A handle to a value of a graph; cheap to copy. Empty after an error or where there is no value.
struct Value {
  Graph* graph = nullptr;
  ValueId id = -1;

  explicit operator bool() const { return id >= 0; }
  const Shape& shape() const;
  DType dtype() const;
  int rank() const { return static_cast<int>(shape().size()); }
  // Size of an axis; negative counts from the end. 0 for an empty value.
  int64_t dim(int axis) const;
  int64_t num_elements() const { return NumElements(shape()); }
  bool operator==(const Value&) const = default;
};

struct ValueInfo {
  DType dtype = DType::kF32;
  Shape shape;
  NodeId node = -1;    // that makes it
  int32_t output = 0;  // which of the node's outputs
};
inline int64_t BytesOf(const ValueInfo& v) { return NumElements(v.shape) * static_cast<int64_t>(SizeOf(v.dtype)); }

struct Node {
  Op op;
  Attrs attrs;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;

  template <typename T>
  const T& as() const {
    return std::get<T>(attrs);
  }
};

// State that outlives a run.
struct VariableInfo {
  enum class Kind : uint8_t { kParameter, kBuffer, kSlot, kRandomState, kAccumulator };
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  Kind kind = Kind::kParameter;
  bool trainable = true;
  ValueId value = -1;  // the read
};

struct NamedValue {
  std::string name;
  ValueId value;
};

class Graph {
 public:
  Graph() = default;
  Graph(Graph&&) = default;
  Graph& operator=(Graph&&) = default;

  Value AddInput(std::string name, DType dtype, Shape shape);
  // A variable is read by one node; the same name again returns the same value.
  Value AddVariable(const VariableInfo& info);
  // Appends a node. `results` are its outputs' types. The caller (ops/) has inferred them.
  std::vector<Value> AddNode(Op op, Attrs attrs, std::span<const Value> inputs, std::vector<ValueInfo> results);
  // After everything else has run, `variable` holds `value`.
  void Assign(int32_t variable, Value value);
  void MarkOutput(std::string name, Value value);

  // The first error; later ones are dropped.
  void Fail(absl::Status status);
  // Puts `prefix` before the message of the present error.
  void PrefixError(std::string_view prefix);
  void AppendError(std::string_view suffix);
  const absl::Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }

  const std::deque<Node>& nodes() const { return nodes_; }
  const std::deque<ValueInfo>& values() const { return values_; }
  const std::vector<NamedValue>& inputs() const { return inputs_; }
  const std::vector<NamedValue>& outputs() const { return outputs_; }
  const std::vector<VariableInfo>& variables() const { return variables_; }
  const ValueInfo& info(ValueId v) const { return values_[v]; }
  const Node& producer(ValueId v) const { return nodes_[values_[v].node]; }
  Value value(ValueId v) { return {this, v}; }
  // -1 if there is none.
  int32_t FindVariable(std::string_view name) const;

  // Appends an output to an existing node (scan keeps its carried values for its gradient). Returns the new value.
  Value AppendOutput(NodeId node, DType dtype, Shape shape);
  Node& mutable_node(NodeId n) { return nodes_[n]; }
  VariableInfo& mutable_variable(int32_t i) { return variables_[i]; }

 private:
  absl::Status status_;
  // References to nodes and to values' shapes stay valid while more are added.
  std::deque<Node> nodes_;
  std::deque<ValueInfo> values_;
  std::vector<NamedValue> inputs_;
  std::vector<NamedValue> outputs_;
  std::vector<VariableInfo> variables_;
  absl::flat_hash_map<std::string, int32_t> variable_of_name_;
};

// One line a node: "%3 = matmul(%0, %2) : f32[4, 8]". The same graph prints the same text.
std::string ToText(const Graph& graph);

// Copies `body`'s nodes into `graph` with its inputs replaced; returns its outputs. `map`, by value of the body,
// receives the copies; values that it holds already are not computed again.
std::vector<Value> Inline(const Graph& body, Graph* graph, std::span<const Value> inputs,
                          std::vector<Value>* map = nullptr);

// Copies the live part of a graph (what outputs and assignments need), keeping inputs and variables. Differentiation is
// over by then: detached values become their operands.
Graph Prune(const Graph& graph);

}  // namespace strata
