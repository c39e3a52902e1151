// Transposes sink: an op over transposed operands becomes the transpose of an op, until two transposes meet and cancel.
// Models with channels first wrap every convolution and pooling into a pair of transposes; afterwards their activations
// stay channels last from end to end, gradients included.
#include <algorithm>

#include "engine/base/status.h"
#include "engine/passes/passes.h"
#include "engine/passes/rewriter.h"
#include "engine/passes/simplifier.h"

namespace strata {
namespace {

using Permutation = std::vector<int64_t>;

Permutation Inverse(const Permutation& p) {
  Permutation inverse(p.size());
  for (size_t i = 0; i < p.size(); ++i) inverse[p[i]] = static_cast<int64_t>(i);
  return inverse;
}

class LayoutPass {
 public:
  explicit LayoutPass(const Graph& from) : w_(from), s_(&w_.graph()) {}

  Graph Run() {
    return w_.Run([&](const Node& node, std::span<const Value> in, std::vector<Value>* out) {
      if (node.op == Op::kAssign) return false;
      const ValueInfo* result = node.outputs.empty() ? nullptr : &w_.from().info(node.outputs[0]);
      if (node.outputs.size() == 1) {
        if (const Value v = Sink(node, in, result->shape)) {
          *out = {v};
          return true;
        }
      }
      *out = s_.MakeAll(node.op, node.attrs, {in.begin(), in.end()});
      return true;
    });
  }

 private:
  static bool IsTransposed(const Value& v) { return v.graph->producer(v.id).op == Op::kTranspose; }
  static const Permutation& PermutationOf(const Value& v) { return v.graph->producer(v.id).as<AxesAttrs>().axes; }
  Value Source(const Value& v) { return w_.graph().value(w_.graph().producer(v.id).inputs[0]); }

  Value Sink(const Node& node, std::span<const Value> in, const Shape& shape) {
    if (IsElementwise(node.op)) return SinkElementwise(node, in, shape);
    if (in.empty() || !IsTransposed(in[0])) return {};
    const Permutation p = PermutationOf(in[0]);
    switch (node.op) {
      case Op::kReduceSum:
      case Op::kReduceMax:
      case Op::kReduceMin:
        return SinkReduce(node, in[0], p);
      case Op::kPad: {
        PadAttrs at = node.as<PadAttrs>(), moved = at;
        for (size_t d = 0; d < p.size(); ++d) {
          moved.lo[p[d]] = at.lo[d];
          moved.hi[p[d]] = at.hi[d];
        }
        return s_.Transpose(s_.Make(Op::kPad, moved, {Source(in[0])}), p);
      }
      case Op::kSlice: {
        SliceAttrs at = node.as<SliceAttrs>(), moved = at;
        // A range of the first axis costs nothing where it is.
        const bool range = std::equal(shape.begin() + 1, shape.end(), in[0].shape().begin() + 1) && at.step[0] == 1;
        if (range && p[0] != 0) return {};
        for (size_t d = 0; d < p.size(); ++d) {
          moved.start[p[d]] = at.start[d];
          moved.size[p[d]] = at.size[d];
          moved.step[p[d]] = at.step[d];
        }
        return s_.Transpose(s_.Make(Op::kSlice, moved, {Source(in[0])}), p);
      }
      case Op::kReverse: {
        AxesAttrs moved;
        for (const int64_t a : node.as<AxesAttrs>().axes) moved.axes.push_back(p[a]);
        return s_.Transpose(s_.Make(Op::kReverse, moved, {Source(in[0])}), p);
      }
      case Op::kConcat: {
        std::vector<Value> sources;
        for (const Value& v : in) {
          if (!IsTransposed(v) || PermutationOf(v) != p) return {};
          sources.push_back(Source(v));
        }
        return s_.Transpose(s_.Make(Op::kConcat, AxesAttrs{{p[node.as<AxesAttrs>().axes[0]]}}, sources), p);
      }
      default:
        return {};
    }
  }

  // Operands of the result's size are either transposed alike, or get the inverse transpose if they are no majority;
  // smaller ones always do, at little cost.
  Value SinkElementwise(const Node& node, std::span<const Value> in, const Shape& shape) {
    const int64_t size = NumElements(shape);
    const Permutation* p = nullptr;
    int transposed = 0, plain = 0;
    for (const Value& v : in) {
      if (v.num_elements() != size || size <= 1) continue;
      if (v.rank() == static_cast<int>(shape.size()) && IsTransposed(v) && (p == nullptr || *p == PermutationOf(v))) {
        p = &PermutationOf(v);
        ++transposed;
      } else {
        ++plain;
      }
    }
    if (p == nullptr || transposed < plain) return {};
    const Permutation permutation = *p;  // the graph's nodes move when more are added
    std::vector<Value> moved;
    for (const Value& v : in) moved.push_back(Unmoved(v, permutation));
    return s_.Transpose(s_.Make(node.op, node.attrs, std::move(moved)), permutation);
  }

  // The value whose transpose by `p` is `v`.
  Value Unmoved(const Value& v, const Permutation& p) {
    if (IsTransposed(v) && PermutationOf(v) == p) return Source(v);
    if (v.num_elements() == 1) return s_.Reshape(v, {});
    Shape full(p.size() - static_cast<size_t>(v.rank()), 1);
    full.insert(full.end(), v.shape().begin(), v.shape().end());
    return s_.Transpose(s_.Reshape(v, full), Inverse(p));
  }

  Value SinkReduce(const Node& node, const Value& x, const Permutation& p) {
    AxesAttrs moved;
    for (const int64_t a : node.as<AxesAttrs>().axes) moved.axes.push_back(p[a]);
    std::sort(moved.axes.begin(), moved.axes.end());
    const Value y = s_.Make(node.op, moved, {Source(x)});
    // The kept axes, in the order in which `y` has them and in the order that is wanted.
    const auto reduced = [&](int64_t axis) { return std::binary_search(moved.axes.begin(), moved.axes.end(), axis); };
    Permutation kept, order;
    for (int64_t axis = 0; axis < static_cast<int64_t>(p.size()); ++axis) {
      if (!reduced(axis)) kept.push_back(axis);
    }
    for (const int64_t axis : p) {
      if (!reduced(axis)) order.push_back(std::find(kept.begin(), kept.end(), axis) - kept.begin());
    }
    return s_.Transpose(y, order);
  }

  Rewriter w_;
  Simplifier s_;
};

}  // namespace

Graph ChooseLayouts(const Graph& graph) { return Prune(LayoutPass(graph).Run()); }

}  // namespace strata
