#include "engine/ops/record.h"

#include <array>
#include <cmath>

#include "engine/base/status.h"
#include "engine/ops/ops.h"

namespace strata {
namespace {

using Table = std::array<OpRecord, static_cast<size_t>(Op::kFused) + 1>;

Table MakeTable() {
  Table table{};
  for (std::span<const OpRecord> records :
       {LeafRecords(), ElementwiseRecords(), MatMulRecords(), ConvRecords(), PoolRecords(), ReduceRecords(),
        MovementRecords(), GatherRecords(), ScanRecords(), FusedRecords()}) {
    for (const OpRecord& r : records) table[static_cast<size_t>(r.op)] = r;
  }
  return table;
}

}  // namespace

const OpRecord& RecordOf(Op op) {
  static const Table table = MakeTable();
  return table[static_cast<size_t>(op)];
}

std::vector<Value> Emit(Graph* g, Op op, Attrs attrs, std::span<const Value> inputs) {
  const OpRecord& record = RecordOf(op);
  STRATA_CHECK(record.infer != nullptr);
  const auto nothing = [&] { return std::vector<Value>(op == Op::kMaxPool ? 2 : 1, Value{g, -1}); };
  if (!g->ok()) return nothing();
  std::vector<const ValueInfo*> infos;
  for (const Value& v : inputs) {
    if (!v) {
      g->Fail(absl::InternalError(absl::StrCat(OpName(op), ": an operand is missing")));
      return nothing();
    }
    infos.push_back(&g->info(v.id));
  }
  absl::StatusOr<std::vector<ValueInfo>> results = record.infer(attrs, infos);
  if (!results.ok()) {
    g->Fail(results.status());
    return nothing();
  }
  return g->AddNode(op, std::move(attrs), inputs, *std::move(results));
}

absl::Status Verify(const Graph& graph) {
  size_t n = 0;
  for (const Node& node : graph.nodes()) {
    const std::string where = absl::StrCat("node ", n, " (", OpName(node.op), "): ");
    std::vector<const ValueInfo*> in;
    for (ValueId v : node.inputs) {
      if (v < 0 || graph.info(v).node >= static_cast<NodeId>(n)) {
        return absl::InternalError(absl::StrCat(where, "uses a value before it is made"));
      }
      in.push_back(&graph.info(v));
    }
    for (ValueId v : node.outputs) {
      if (graph.info(v).node != static_cast<NodeId>(n))
        return absl::InternalError(absl::StrCat(where, "wrong producer"));
    }
    ++n;
    if (node.op == Op::kInput || node.op == Op::kVariable) continue;
    if (node.op == Op::kAssign) {
      const VariableInfo& variable = graph.variables()[node.as<VariableAttrs>().index];
      if (in.size() != 1 || in[0]->shape != variable.shape || in[0]->dtype != variable.dtype) {
        return absl::InternalError(absl::StrCat(where, "does not match variable ", variable.name));
      }
      continue;
    }
    const OpRecord& record = RecordOf(node.op);
    if (record.infer == nullptr) return absl::InternalError(absl::StrCat(where, "has no record"));
    absl::StatusOr<std::vector<ValueInfo>> results = record.infer(node.attrs, in);
    if (!results.ok()) return absl::InternalError(absl::StrCat(where, results.status().message()));
    if (results->size() != node.outputs.size())
      return absl::InternalError(absl::StrCat(where, "wrong number of outputs"));
    for (size_t i = 0; i < results->size(); ++i) {
      const ValueInfo& have = graph.info(node.outputs[i]);
      if ((*results)[i].shape != have.shape || (*results)[i].dtype != have.dtype) {
        return absl::InternalError(absl::StrCat(where, "output ", i, " is ", ShapeString(have.shape), ", inferred ",
                                                ShapeString((*results)[i].shape)));
      }
    }
    if (node.op == Op::kScan) STRATA_RETURN_IF_ERROR(Verify(*node.as<ScanAttrs>().body));
  }
  return absl::OkStatus();
}

void RoundToType(DType type, RefTensor* t) {
  if (IsFloat(type)) return;
  for (double& v : t->data) v = type == DType::kBool ? (v != 0) : std::trunc(v);
}

Value SumTo(Value dy, const Shape& shape) {
  if (!dy || dy.shape() == shape) return dy;
  const int lead = dy.rank() - static_cast<int>(shape.size());
  std::vector<int64_t> axes;
  for (int i = 0; i < dy.rank(); ++i) {
    if (i < lead || (shape[i - lead] == 1 && dy.dim(i) != 1)) axes.push_back(i);
  }
  return Reshape(ReduceSum(dy, axes), shape);
}

absl::StatusOr<Shape> BroadcastShape(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) {
      return InvalidArgument("shapes: must broadcast, got ", ShapeString(a), " and ", ShapeString(b));
    }
    out[out.size() - 1 - i] = x == 1 ? y : x;
  }
  return out;
}

}  // namespace strata
