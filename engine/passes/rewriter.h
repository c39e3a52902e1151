// Building a graph anew from another one: the common part of all passes.
//
//   Rewriter w(graph);
//   return w.Run([&](const Node& node, std::span<const Value> in, std::vector<Value>* out) { ...; return replaced; });
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/graph/graph.h"

namespace strata {

class Rewriter {
 public:
  explicit Rewriter(const Graph& from) : from_(from), map_(from.values().size()) {}

  // Called for every node but inputs and variables, with its operands in the new graph. Returns true if it has set
  // `out` (one value per result, of the same type and shape); false copies the node.
  using Rule = std::function<bool(const Node& node, std::span<const Value> in, std::vector<Value>* out)>;
  Graph Run(const Rule& rule);

  Graph& graph() { return out_; }
  const Graph& from() const { return from_; }

 private:
  const Graph& from_;
  Graph out_;
  std::vector<Value> map_;
};

// A copy of `node` over other operands.
std::vector<Value> CopyNode(Graph* g, const Graph& from, const Node& node, std::span<const Value> in);

// How often each value is read, outputs included.
std::vector<int> CountUses(const Graph& graph);

// A byte string that is equal for equal attributes; nothing for attributes that are never equal to others.
std::optional<std::string> AttrsKey(const Attrs& attrs);

// What made a value, and its operand `i`.
inline const Node& ProducerOf(const Value& v) { return v.graph->producer(v.id); }
inline Value OperandOf(const Value& v, size_t i) { return v.graph->value(ProducerOf(v).inputs[i]); }

// The value of a constant with one element.
std::optional<double> ScalarConstant(const Value& v);
inline bool IsScalar(const Value& v, double want) { return ScalarConstant(v) == want; }
bool IsConstant(const Value& v);

}  // namespace strata
