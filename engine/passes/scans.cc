// Work that every step of a scan does for itself, done once for all steps outside: products of a sequence with a
// constant, and sums over time of products (the weights' gradients), which become one long product. Sequences that
// nobody reads are not written. Literals that come in from outside, a published version's weights, become the body's
// own: its kernels bring them to their layouts once and for all.
#include <map>

#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/passes/passes.h"
#include "engine/passes/rewriter.h"

namespace strata {
namespace {

class ScanLifter {
 public:
  // `in`: the operands of the scan in the new graph; `read`: by result, whether anybody reads it.
  ScanLifter(Graph* g, const ScanAttrs& at, std::span<const Value> in, std::vector<bool> read)
      : g_(g),
        at_(at),
        body_(*at.body),
        in_(in.begin(), in.end()),
        read_(std::move(read)),
        uses_(CountUses(body_)),
        input_(body_.values().size(), -1) {
    for (size_t i = 0; i < body_.inputs().size(); ++i) input_[body_.inputs()[i].value] = static_cast<int32_t>(i);
    FindProducts();
    FindSums();
  }

  bool any() const {
    bool idle = false;
    for (size_t i = 0; i < body_.outputs().size(); ++i) idle |= IsIdle(i);
    bool literal = false;
    for (size_t i = 0; i < in_.size(); ++i) literal |= IsLiteral(i);
    return idle || literal || !products_.empty() || !sums_.empty();
  }

  // The results of the scan, as before; nothing in place of idle ones.
  std::vector<Value> Build() {
    for (const auto& [v, node] : products_) lifted_[v] = ProductOverTime(*node);
    BuildBody();
    ScanAttrs attrs{std::make_shared<const Graph>(Prune(new_body_)), num_carry_,
                    at_.num_sequences + static_cast<int32_t>(lifted_.size()), at_.length, at_.reverse};
    const std::vector<Value> out = Emit(g_, Op::kScan, std::move(attrs), operands_);
    std::vector<Value> results;
    size_t next = 0;
    for (size_t i = 0; i < body_.outputs().size(); ++i) {
      results.push_back(IsGone(i) ? Value{} : out[next++]);
    }
    for (const auto& [i, node] : sums_) results[i] = in_[i] + SumOverTime(*node, out);
    return results;
  }

 private:
  // A sequence that nobody reads.
  bool IsIdle(size_t output) const { return static_cast<int32_t>(output) >= at_.num_carry && !read_[output]; }
  // The same in every step, and known.
  bool IsLiteral(size_t input) const {
    return static_cast<int32_t>(input) >= at_.num_carry + at_.num_sequences && strata::IsConstant(in_[input]);
  }
  // No result of the new scan.
  bool IsGone(size_t output) const { return IsIdle(output) || sums_.contains(static_cast<int32_t>(output)); }

  bool IsSequence(ValueId v) const {
    return input_[v] >= at_.num_carry && input_[v] < at_.num_carry + at_.num_sequences;
  }
  bool IsConstant(ValueId v) const { return input_[v] >= at_.num_carry + at_.num_sequences; }
  size_t RankOf(ValueId v) const { return body_.info(v).shape.size(); }

  // sequence x constant, both matrices.
  void FindProducts() {
    for (const Node& n : body_.nodes()) {
      if (n.op != Op::kMatMul || RankOf(n.inputs[0]) != 2) continue;
      const auto& at = n.as<MatMulAttrs>();
      if (!at.transpose_a && !at.bias && !at.residual && IsSequence(n.inputs[0]) && IsConstant(n.inputs[1]))
        products_[n.outputs[0]] = &n;
    }
  }

  // Carried values that only add something up: a product a^T b of matrices, or the sum of a matrix's rows.
  void FindSums() {
    for (int32_t i = 0; i < at_.num_carry; ++i) {
      const ValueId in = body_.inputs()[i].value, out = body_.outputs()[i].value;
      const Node& add = body_.producer(out);
      if (add.op != Op::kAdd || uses_[in] != 1 || uses_[out] != 1) continue;
      if (add.inputs[0] != in && add.inputs[1] != in) continue;
      const Node& term = body_.producer(add.inputs[0] == in ? add.inputs[1] : add.inputs[0]);
      if (term.op == Op::kMatMul) {
        const auto& at = term.as<MatMulAttrs>();
        if (RankOf(term.inputs[0]) == 2 && at.transpose_a && !at.transpose_b && !at.bias && !at.residual && !at.relu)
          sums_[i] = &term;
      } else if (term.op == Op::kReduceSum) {
        if (RankOf(term.inputs[0]) == 2 && term.as<AxesAttrs>().axes == std::vector<int64_t>{0}) sums_[i] = &term;
      }
    }
  }

  static Value Rows(Value x) { return Reshape(x, {-1, x.dim(-1)}); }  // [T, N, D] -> [T N, D]

  Value ProductOverTime(const Node& n) {
    const Value x = in_[input_[n.inputs[0]]], w = in_[input_[n.inputs[1]]];
    const Value y = MatMul(Rows(x), w, false, n.as<MatMulAttrs>().transpose_b);
    return Reshape(y, {x.dim(0), x.dim(1), y.dim(-1)});
  }

  void BuildBody() {
    std::vector<Value> map(body_.values().size());
    const auto add_input = [&](const std::string& name, ValueId like) {
      return new_body_.AddInput(name, body_.info(like).dtype, body_.info(like).shape);
    };
    const auto keep_inputs = [&](size_t from, size_t to) {
      for (size_t i = from; i < to; ++i) {
        if (sums_.contains(static_cast<int32_t>(i))) continue;
        const NamedValue& v = body_.inputs()[i];
        if (IsLiteral(i)) {
          const Node& literal = g_->producer(in_[i].id);
          map[v.value] = new_body_.AddNode(Op::kConstant, literal.attrs, {}, {{in_[i].dtype(), in_[i].shape()}})[0];
          continue;
        }
        map[v.value] = add_input(v.name, v.value);
        operands_.push_back(in_[i]);
        num_carry_ += static_cast<int32_t>(i) < at_.num_carry ? 1 : 0;
      }
    };
    const size_t constants = static_cast<size_t>(at_.num_carry + at_.num_sequences);
    keep_inputs(0, constants);
    for (const auto& [v, y] : lifted_) {
      map[v] = add_input("product", v);
      operands_.push_back(y);
    }
    keep_inputs(constants, body_.inputs().size());
    CopyNodes(&map);
    for (size_t i = 0; i < body_.outputs().size(); ++i) {
      if (IsGone(i)) continue;
      const NamedValue& v = body_.outputs()[i];
      if (static_cast<int32_t>(i) >= at_.num_carry) stacked_.emplace(v.value, new_body_.outputs().size());
      new_body_.MarkOutput(v.name, map[v.value]);
    }
    // What the sums read leaves the scan as sequences, but for what came in as one.
    for (const auto& [i, node] : sums_) {
      for (ValueId v : node->inputs) {
        if (IsSequence(v) || lifted_.contains(v) || stacked_.contains(v)) continue;
        stacked_[v] = new_body_.outputs().size();
        new_body_.MarkOutput("summed", map[v]);
      }
    }
  }

  void CopyNodes(std::vector<Value>* map) {
    for (const Node& node : body_.nodes()) {
      if (node.op == Op::kInput || lifted_.contains(node.outputs[0])) continue;
      std::vector<Value> in;
      bool whole = true;  // reads no sum that is gone
      for (ValueId v : node.inputs) {
        in.push_back((*map)[v]);
        whole &= static_cast<bool>(in.back());
      }
      if (!whole) continue;
      const std::vector<Value> out = CopyNode(&new_body_, body_, node, in);
      for (size_t i = 0; i < out.size(); ++i) (*map)[node.outputs[i]] = out[i];
    }
  }

  Value SumOverTime(const Node& n, const std::vector<Value>& out) {
    const auto rows = [&](ValueId v) {
      return Rows(IsSequence(v) ? in_[input_[v]] : lifted_.contains(v) ? lifted_.at(v) : out[stacked_.at(v)]);
    };
    if (n.op == Op::kReduceSum) return ReduceSum(rows(n.inputs[0]), {0});
    return MatMul(rows(n.inputs[0]), rows(n.inputs[1]), true);
  }

  Graph* g_;
  const ScanAttrs& at_;
  const Graph& body_;
  std::vector<Value> in_;
  std::vector<bool> read_;
  std::vector<int> uses_;
  std::vector<int32_t> input_;  // by value of the body: its place among the inputs, or -1
  std::map<ValueId, const Node*> products_;
  std::map<int32_t, const Node*> sums_;  // by carried value: what it adds up
  std::map<ValueId, Value> lifted_;      // products outside, stacked over time
  std::map<ValueId, size_t> stacked_;    // values that leave as sequences, by the new scan's output
  Graph new_body_;
  std::vector<Value> operands_;
  int32_t num_carry_ = 0;
};

}  // namespace

Graph LiftFromScans(const Graph& graph) {
  Rewriter w(graph);
  const std::vector<int> uses = CountUses(graph);
  Graph out = w.Run([&](const Node& node, std::span<const Value> in, std::vector<Value>* results) {
    if (node.op != Op::kScan) return false;
    std::vector<bool> read;
    for (const ValueId v : node.outputs) read.push_back(uses[v] > 0);
    ScanLifter lifter(&w.graph(), node.as<ScanAttrs>(), in, std::move(read));
    if (!lifter.any()) return false;
    *results = lifter.Build();
    return true;
  });
  return Prune(out);
}

}  // namespace strata
