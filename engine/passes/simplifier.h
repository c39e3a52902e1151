// The state of one run of Simplify, and its rules. A rule looks at an operation that is about to be added and may
// return an equal, simpler value; whatever a rule builds goes through the rules itself.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/graph/graph.h"

namespace strata {

class Simplifier {
 public:
  explicit Simplifier(Graph* g) : g_(g) {}

  // Adds an operation with one result, or finds an equal value. `attrs` as for Emit.
  Value Make(Op op, Attrs attrs, std::vector<Value> in);
  // The same for any number of results; rules apply to operations with one.
  std::vector<Value> MakeAll(Op op, Attrs attrs, std::vector<Value> in);

  // Shorthands that go through the rules.
  Value Constant(const Tensor& value);
  Value Scalar(double value, DType dtype);
  Value Reshape(Value x, Shape shape);
  Value Broadcast(Value x, Shape shape);
  Value Transpose(Value x, std::vector<int64_t> permutation);
  Value Binary(Op op, Value a, Value b) { return Make(op, {}, {a, b}); }

  Graph* graph() { return g_; }

  // Whether one operation of the original graph, or of a rule that says so, reads `v`: then what `v` does may move into
  // that reader.
  bool IsReadOnce(const Value& v) const {
    const auto it = readers_.find(v.id);
    return it != readers_.end() && it->second == 1;
  }
  void AddReaders(const Value& v, int count) { readers_[v.id] += count; }

 private:
  Graph* g_;
  std::map<ValueId, int> readers_;
  std::map<std::string, std::vector<Value>> known_;  // by operation, attributes and operands
};

// Rules return an empty value where they do not apply. `shape` is the result's.
struct Proposal {
  Op op;
  const Attrs& attrs;
  const std::vector<Value>& in;
  const ValueInfo& result;
};
Value FoldConstants(Simplifier* s, const Proposal& c);
Value SimplifyAlgebra(Simplifier* s, const Proposal& c);
Value SimplifyBroadcast(Simplifier* s, const Proposal& c);
Value SimplifyMovement(Simplifier* s, const Proposal& c);
Value SimplifyProduct(Simplifier* s, const Proposal& c);
Value SimplifyPooling(Simplifier* s, const Proposal& c);

}  // namespace strata
