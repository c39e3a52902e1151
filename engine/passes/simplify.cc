#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"
#include "engine/ops/reference.h"
#include "engine/passes/passes.h"
#include "engine/passes/rewriter.h"
#include "engine/passes/simplifier.h"

namespace strata {
namespace {

constexpr int64_t kMaxFolded = 4096;  // elements of a folded constant

std::string KeyOf(Op op, const std::string& attrs, const std::vector<Value>& in) {
  std::string key(1, static_cast<char>(op));
  for (const Value& v : in) key.append(reinterpret_cast<const char*>(&v.id), sizeof(v.id));
  return key + attrs;
}

}  // namespace

Value Simplifier::Make(Op op, Attrs attrs, std::vector<Value> in) {
  return MakeAll(op, std::move(attrs), std::move(in))[0];
}

std::vector<Value> Simplifier::MakeAll(Op op, Attrs attrs, std::vector<Value> in) {
  std::vector<const ValueInfo*> types;
  for (const Value& v : in) types.push_back(&g_->info(v.id));
  absl::StatusOr<std::vector<ValueInfo>> results = RecordOf(op).infer(attrs, types);
  STRATA_CHECK(results.ok());  // the rules build only what is right
  if (results->size() == 1) {
    const ValueInfo result = results->front();
    const Proposal p{op, attrs, in, result};
    for (const auto rule :
         {FoldConstants, SimplifyAlgebra, SimplifyBroadcast, SimplifyMovement, SimplifyProduct, SimplifyPooling}) {
      if (const Value v = rule(this, p)) {
        STRATA_CHECK(v.shape() == result.shape && v.dtype() == result.dtype);
        return {v};
      }
    }
  }
  const std::optional<std::string> attrs_key = AttrsKey(attrs);
  if (!attrs_key) return g_->AddNode(op, std::move(attrs), in, *std::move(results));
  const std::string key = KeyOf(op, *attrs_key, in);
  if (const auto it = known_.find(key); it != known_.end()) return it->second;
  std::vector<Value> out = g_->AddNode(op, std::move(attrs), in, *std::move(results));
  known_.emplace(key, out);
  return out;
}

Value Simplifier::Constant(const Tensor& value) {
  return Make(Op::kConstant, LiteralAttrs{std::make_shared<const Tensor>(value.Clone())}, {});
}
Value Simplifier::Scalar(double value, DType dtype) { return Constant(Tensor::Scalar(value, dtype)); }
Value Simplifier::Reshape(Value x, Shape shape) {
  return x.shape() == shape ? x : Make(Op::kReshape, ShapeAttrs{std::move(shape)}, {x});
}
Value Simplifier::Broadcast(Value x, Shape shape) {
  return x.shape() == shape ? x : Make(Op::kBroadcast, ShapeAttrs{std::move(shape)}, {x});
}
Value Simplifier::Transpose(Value x, std::vector<int64_t> permutation) {
  return Make(Op::kTranspose, AxesAttrs{std::move(permutation)}, {x});
}

// Evaluates an operation over constants, in double. Nothing that would make a small constant large is folded.
Value FoldConstants(Simplifier* s, const Proposal& c) {
  if (c.op == Op::kIota) {
    const auto& at = std::get<ShapeAttrs>(c.attrs);
    const int64_t n = at.shape[at.axis];
    if (n > (1 << 20)) return {};
    Tensor t(at.dtype, {n});
    for (int64_t i = 0; i < n; ++i) t.Set(i, static_cast<double>(i));
    Shape ones(at.shape.size(), 1);
    ones[at.axis] = n;
    return s->Broadcast(s->Reshape(s->Constant(t), ones), at.shape);
  }
  const bool leaf = c.in.empty();
  if (leaf || c.op == Op::kScan || c.op == Op::kRandom || c.op == Op::kFused || c.op == Op::kBroadcast) return {};
  int64_t elements = 0;
  for (const Value& v : c.in) {
    if (!IsConstant(v)) return {};
    elements += v.num_elements();
  }
  const int64_t n = NumElements(c.result.shape);
  if (n > kMaxFolded || n > 4 * elements + 16 || elements > 4 * kMaxFolded) return {};
  std::vector<RefTensor> in;
  std::vector<const RefTensor*> pointers;
  for (const Value& v : c.in) in.push_back(ToRef(s->graph()->producer(v.id).as<LiteralAttrs>().value->view()));
  for (const RefTensor& t : in) pointers.push_back(&t);
  std::vector<RefTensor> out{{c.result.shape, std::vector<double>(static_cast<size_t>(n), 0.0)}};
  const std::vector<DType> types{c.result.dtype};
  RecordOf(c.op).reference(c.attrs, pointers, out, types);
  return s->Constant(FromRef(out[0], c.result.dtype));
}

Graph Simplify(const Graph& graph) {
  const std::vector<int> uses = CountUses(graph);
  Rewriter w(graph);
  Simplifier s(&w.graph());
  Graph out = w.Run([&](const Node& node, std::span<const Value> in, std::vector<Value>* results) {
    if (node.op == Op::kAssign) return false;
    Attrs attrs = node.attrs;
    if (auto* scan = std::get_if<ScanAttrs>(&attrs)) scan->body = std::make_shared<const Graph>(Simplify(*scan->body));
    *results = s.MakeAll(node.op, std::move(attrs), {in.begin(), in.end()});
    for (size_t i = 0; i < results->size(); ++i) s.AddReaders((*results)[i], uses[node.outputs[i]]);
    return true;
  });
  return Prune(out);
}

}  // namespace strata
