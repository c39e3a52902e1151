// Runs a program: over tensors it adds nodes to a graph, over numbers it computes them at once, in double and int64.
//
//   Evaluator e(&graph, {.names = {{"x", x}, {"alpha", Number::Float(0.5)}}});
//   STRATA_ASSIGN_OR_RETURN(std::vector<Object> results, e.Run(program));
//
// Errors: "line:column: rule, got value". An op that refuses its operands has failed the graph: then the graph's error
// has the place too, and is what is returned.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/expr/ast.h"
#include "engine/expr/object.h"

namespace strata::expr {

struct Environment {
  std::map<std::string, Object> names;
  // The n-th draw of the program, uniform in [0, 1). Absent: there is no randomness here.
  std::function<Value(int n, const Shape& shape)> random;
  // Functions that the frameworks share by name do as PyTorch's, and not as TensorFlow's: std() and var() divide by one
  // less, a tie of maximum() and minimum() halves the gradient, split() takes a part's size.
  bool pytorch = false;
};

class Evaluator {
 public:
  // `graph` may be null: then every tensor is an error. It must outlive the evaluator.
  Evaluator(Graph* graph, Environment environment) : graph_(graph), environment_(std::move(environment)) {}

  // The results, of which there is one at least.
  absl::StatusOr<std::vector<Object>> Run(const Program& program);
  absl::StatusOr<Object> Evaluate(const Node& node);

  Graph* graph() const { return graph_; }
  bool pytorch() const { return environment_.pytorch; }
  // A tensor's values depend on the size of the batch.
  bool uses_batch_size() const { return uses_batch_size_; }

  // For functions. A number as a tensor of type `dtype`.
  absl::StatusOr<Value> Materialize(Place place, const Number& number, DType dtype);
  // Numbers and lists of numbers count as f32, i64 and bool tensors.
  absl::StatusOr<Value> AsTensor(Place place, const Object& object);
  // A number that decides something while the graph is built.
  absl::StatusOr<bool> Decide(Place place, const Object& condition);
  // Marks that values follow `number`, and returns it.
  const Number& Use(const Number& number) {
    uses_batch_size_ |= number.batch;
    return number;
  }
  absl::StatusOr<Value> Random(Place place, const Shape& shape);

 private:
  absl::StatusOr<Object> EvaluateNode(const Node& node);
  absl::StatusOr<Object> EvaluateCall(const Node& node);
  // What stands before an index or an attribute: of PyTorch's max(x, dim) the pair that it gives.
  absl::StatusOr<Object> EvaluateWhole(const Node& node);
  // Moves an op's error to its place, and checks what the op made.
  absl::Status CheckResult(const Node& node, const Object& result);

  Graph* graph_;
  Environment environment_;
  bool uses_batch_size_ = false;
  int draws_ = 0;
  int64_t first_node_ = -1;
};

// Operators (operators.cc). `op` is that of the node.
absl::StatusOr<Object> ApplyUnary(Evaluator& e, Place place, const std::string& op, const Object& x);
absl::StatusOr<Object> ApplyBinary(Evaluator& e, Place place, const std::string& op, const Object& a, const Object& b);
// The two operands as tensors of the type that they have together.
struct Pair {
  Value a, b;
};
absl::StatusOr<Pair> Promote(Evaluator& e, Place place, const Object& a, const Object& b);

// x[items] (index.cc).
absl::StatusOr<Object> ApplyIndex(Evaluator& e, const Node& node, const Object& x);
// The sizes of x's axes, as numbers.
Object ShapeOf(Value x);

}  // namespace strata::expr
