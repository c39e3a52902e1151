#include "engine/expr/rows.h"

#include <algorithm>
#include <optional>

#include "engine/ops/ops.h"

namespace strata::expr {
namespace {

// A size that no other axis is likely to have: the proof does not rest on it, but it may then fail less often.
constexpr int64_t kBatch = 7;

// What is known of a value: where its batch axis is (-1: it has none), and along which axes it is the same everywhere.
struct Fact {
  int batch = -1;
  std::vector<bool> uniform;
};
using Known = std::optional<Fact>;  // nothing: rows are mixed

Fact Constant(const Shape& shape) {
  Fact f;
  for (int64_t d : shape) f.uniform.push_back(d == 1);
  return f;
}

class Tracer {
 public:
  explicit Tracer(const Graph& g) : g_(g), facts_(g.values().size()) {}

  void SetInput(Value v, bool batched) {
    facts_[v.id] = Constant(v.shape());
    if (batched) facts_[v.id]->batch = 0;
  }

  void Run() {
    for (const strata::Node& node : g_.nodes()) {
      for (const ValueId out : node.outputs) {
        if (node.op == Op::kInput) continue;
        facts_[out] = FactOf(node, g_.info(out).shape);
      }
    }
  }

  bool Independent(Value v) const { return facts_[v.id].has_value() && facts_[v.id]->batch == 0; }

 private:
  const Shape& ShapeOf(ValueId v) const { return g_.info(v).shape; }

  Known FactOf(const strata::Node& node, const Shape& out) const {
    bool batched = false;
    for (ValueId v : node.inputs) {
      if (!facts_[v].has_value()) return std::nullopt;
      batched |= facts_[v]->batch >= 0;
    }
    if (node.op == Op::kRandom) return std::nullopt;
    if (IsElementwise(node.op) || node.op == Op::kBroadcast || node.op == Op::kDetach) return Aligned(node, out);
    if (!batched) return Constant(out);
    Fact f = Constant(out);
    f.batch = Moved(node, out);
    return f.batch < 0 ? Known() : Known(f);
  }

  // Axes line up from the last one.
  Known Aligned(const strata::Node& node, const Shape& out) const {
    Fact f;
    f.uniform.assign(out.size(), true);
    for (ValueId v : node.inputs) {
      const int lead = static_cast<int>(out.size() - ShapeOf(v).size());
      const Fact& in = *facts_[v];
      if (in.batch >= 0) {
        if (f.batch >= 0 && f.batch != in.batch + lead) return std::nullopt;
        f.batch = in.batch + lead;
      }
      for (size_t d = 0; d < in.uniform.size(); ++d) {
        if (!in.uniform[d]) f.uniform[d + lead] = false;
      }
    }
    if (f.batch < 0) return f;
    for (ValueId v : node.inputs) {
      const int at = f.batch - static_cast<int>(out.size() - ShapeOf(v).size());
      const Fact& in = *facts_[v];
      if (in.batch < 0 && at >= 0 && !in.uniform[at]) return std::nullopt;
      // A batch axis of one operand is stretched by none of the others.
      if (in.batch >= 0 && ShapeOf(v)[in.batch] != out[f.batch]) return std::nullopt;
    }
    return f;
  }

  // Where the batch axis goes; -1: rows are mixed.
  int Moved(const strata::Node& node, const Shape& out) const {
    const Shape& x = ShapeOf(node.inputs[0]);
    const int a = facts_[node.inputs[0]]->batch;
    switch (node.op) {
      case Op::kReduceSum:
      case Op::kReduceMax:
      case Op::kReduceMin:
      case Op::kArgMax: {
        int before = 0;
        for (int64_t axis : node.as<AxesAttrs>().axes) {
          if (axis == a) return -1;
          before += axis < a;
        }
        return a - before;
      }
      case Op::kSoftmax:
      case Op::kLogSoftmax:
        return a == static_cast<int>(x.size()) - 1 ? -1 : a;
      case Op::kReshape:
        return Reshaped(x, a, out);
      case Op::kTranspose: {
        const auto& order = node.as<AxesAttrs>().axes;
        return static_cast<int>(std::find(order.begin(), order.end(), a) - order.begin());
      }
      case Op::kReverse: {
        const auto& axes = node.as<AxesAttrs>().axes;
        return std::count(axes.begin(), axes.end(), a) > 0 ? -1 : a;
      }
      case Op::kSlice: {
        const auto& at = node.as<SliceAttrs>();
        return at.start[a] == 0 && at.size[a] == x[a] && at.step[a] == 1 ? a : -1;
      }
      case Op::kPad: {
        const auto& at = node.as<PadAttrs>();
        return at.lo[a] == 0 && at.hi[a] == 0 ? a : -1;
      }
      case Op::kConcat:
        return Joined(node);
      case Op::kGather:
        // Rows of the batch as a table are chosen by others; ids of the batch read a table of constants.
        return a >= 0 ? -1 : facts_[node.inputs[1]]->batch;
      case Op::kMatMul:
        return Multiplied(node);
      default:
        return -1;
    }
  }

  static int Reshaped(const Shape& x, int a, const Shape& out) {
    int64_t before = 1, own = 1;
    for (int i = 0; i < a; ++i) before *= x[i];
    for (size_t i = 0; i < out.size(); ++i) {
      if (own == before && out[i] == x[a]) return static_cast<int>(i);
      own *= out[i];
    }
    return -1;
  }

  int Joined(const strata::Node& node) const {
    int batch = -1;
    for (ValueId v : node.inputs) {
      const int own = facts_[v]->batch;
      if (own >= 0 && batch >= 0 && own != batch) return -1;
      batch = std::max(batch, own);
    }
    for (ValueId v : node.inputs) {
      if (facts_[v]->batch < 0 && !facts_[v]->uniform[batch]) return -1;
    }
    return node.as<AxesAttrs>().axes[0] == batch ? -1 : batch;
  }

  int Multiplied(const strata::Node& node) const {
    const auto& at = node.as<MatMulAttrs>();
    const int rank = static_cast<int>(ShapeOf(node.inputs[0]).size());
    const int a = facts_[node.inputs[0]]->batch, b = facts_[node.inputs[1]]->batch;
    const int rows = at.transpose_a ? rank - 1 : rank - 2, columns = at.transpose_b ? rank - 2 : rank - 1;
    if (a >= 0 && b >= 0) return a == b && a < rank - 2 ? a : -1;
    const int own = std::max(a, b), other = a >= 0 ? 1 : 0;
    if (own < rank - 2) return facts_[node.inputs[other]]->uniform[own] ? own : -1;
    if (a >= 0) return a == rows ? rank - 2 : -1;
    return b == columns ? rank - 1 : -1;
  }

  const Graph& g_;
  std::vector<Known> facts_;
};

}  // namespace

bool RowsIndependent(const Program& program, const Environment& environment, const std::set<std::string>& batched,
                     size_t ignored) {
  Graph g;
  Environment scratch;
  scratch.pytorch = environment.pytorch;
  std::vector<std::pair<Value, bool>> inputs;
  for (const auto& entry : environment.names) {  // Clang 14 captures no structured bindings
    const std::string& name = entry.first;
    const Object& object = entry.second;
    const bool rows = batched.count(name) != 0;
    const auto copy = [&](Value v) {
      Shape shape = v.shape();
      if (rows && !shape.empty()) shape[0] = kBatch;
      inputs.emplace_back(g.AddInput(name, v.dtype(), shape), rows && !shape.empty());
      return inputs.back().first;
    };
    if (object.tensor() != nullptr) {
      scratch.names[name] = copy(*object.tensor());
    } else if (object.list() != nullptr) {
      // Several tensors under one name.
      Object::List list;
      for (const Object& item : *object.list()) list.push_back(item.tensor() != nullptr ? copy(*item.tensor()) : item);
      scratch.names[name] = std::move(list);
    } else {
      scratch.names[name] = object;
    }
  }
  Evaluator evaluator(&g, std::move(scratch));
  const auto results = evaluator.Run(program);
  if (!results.ok() || results->size() < ignored || evaluator.uses_batch_size()) return false;
  Tracer tracer(g);
  for (const auto& [value, rows] : inputs) tracer.SetInput(value, rows);
  tracer.Run();
  return std::all_of(results->begin(), results->end() - static_cast<int64_t>(ignored),
                     [&](const Object& o) { return o.tensor() != nullptr && tracer.Independent(*o.tensor()); });
}

}  // namespace strata::expr
