// A body graph run over time.
#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"
#include "engine/ops/reference.h"

namespace strata {
namespace {

absl::StatusOr<std::vector<ValueInfo>> InferScan(const Attrs& attrs, std::span<const ValueInfo* const> in) {
  const auto& at = std::get<ScanAttrs>(attrs);
  const Graph& body = *at.body;
  if (in.size() != body.inputs().size() || static_cast<int32_t>(body.outputs().size()) < at.num_carry) {
    return absl::InternalError("scan: the body does not fit its operands");
  }
  for (size_t i = 0; i < in.size(); ++i) {
    const bool sequence =
        static_cast<int32_t>(i) >= at.num_carry && static_cast<int32_t>(i) < at.num_carry + at.num_sequences;
    Shape shape = in[i]->shape;
    if (sequence) {
      if (shape.empty() || shape[0] != at.length) return InvalidArgument("scan: a sequence has the wrong length");
      shape.erase(shape.begin());
    }
    const ValueInfo& want = body.info(body.inputs()[i].value);
    if (shape != want.shape || in[i]->dtype != want.dtype) {
      return InvalidArgument("scan: operand ", i, " is ", ShapeString(shape), ", the body takes ",
                             ShapeString(want.shape));
    }
  }
  std::vector<ValueInfo> out;
  for (size_t i = 0; i < body.outputs().size(); ++i) {
    const ValueInfo& v = body.info(body.outputs()[i].value);
    Shape shape = v.shape;
    if (static_cast<int32_t>(i) < at.num_carry) {
      if (shape != in[i]->shape) return InvalidArgument("scan: carried value ", i, " changes its shape");
    } else {
      shape.insert(shape.begin(), at.length);
    }
    out.push_back({v.dtype, std::move(shape)});
  }
  return out;
}

void RefScan(const Attrs& attrs, std::span<const RefTensor* const> in, std::span<RefTensor> out,
             std::span<const DType>) {
  const auto& at = std::get<ScanAttrs>(attrs);
  const int32_t first_constant = at.num_carry + at.num_sequences;
  std::vector<RefTensor> step(in.size());
  for (size_t i = 0; i < in.size(); ++i) {
    if (static_cast<int32_t>(i) < at.num_carry || static_cast<int32_t>(i) >= first_constant) step[i] = *in[i];
  }
  for (int64_t k = 0; k < at.length; ++k) {
    const int64_t t = at.reverse ? at.length - 1 - k : k;
    for (int32_t i = at.num_carry; i < first_constant; ++i) {
      step[i].shape.assign(in[i]->shape.begin() + 1, in[i]->shape.end());
      const int64_t n = NumElements(step[i].shape);
      step[i].data.assign(in[i]->data.begin() + t * n, in[i]->data.begin() + (t + 1) * n);
    }
    std::vector<RefTensor> results = EvaluateReference(*at.body, step);
    for (size_t i = 0; i < results.size(); ++i) {
      if (static_cast<int32_t>(i) < at.num_carry) {
        step[i] = std::move(results[i]);
      } else {
        std::copy(results[i].data.begin(), results[i].data.end(),
                  out[i].data.begin() + t * static_cast<int64_t>(results[i].data.size()));
      }
    }
  }
  for (int32_t i = 0; i < at.num_carry; ++i) out[i].data = step[i].data;
}

}  // namespace

std::span<const OpRecord> ScanRecords() {
  static constexpr OpRecord kRecords[] = {{Op::kScan, InferScan, ScanVjp, RefScan}};
  return kRecords;
}

ScanResult Scan(Graph* g, Graph body, std::span<const Value> carry, std::span<const Value> sequences,
                std::span<const Value> constants, bool reverse, int64_t length) {
  ScanResult result;
  result.carry.resize(carry.size(), Value{g, -1});
  result.sequences.resize(std::max<size_t>(body.outputs().size(), carry.size()) - carry.size(), Value{g, -1});
  if (!body.ok()) {
    g->Fail(body.status());
    return result;
  }
  std::vector<Value> in(carry.begin(), carry.end());
  in.insert(in.end(), sequences.begin(), sequences.end());
  in.insert(in.end(), constants.begin(), constants.end());
  ScanAttrs at{std::make_shared<const Graph>(Prune(body)), static_cast<int32_t>(carry.size()),
               static_cast<int32_t>(sequences.size()), length, reverse};
  const std::vector<Value> out = Emit(g, Op::kScan, std::move(at), in);
  if (!g->ok()) return result;
  result.carry.assign(out.begin(), out.begin() + static_cast<int64_t>(carry.size()));
  result.sequences.assign(out.begin() + static_cast<int64_t>(carry.size()), out.end());
  return result;
}

Value FinalState(Value x, int axis, int64_t t) {
  Graph& g = *x.graph;
  const Value none{&g, -1};
  ValueId sequence = x.id;
  std::vector<int64_t> permutation;
  if (const Node& n = g.producer(x.id); n.op == Op::kTranspose) {
    permutation = n.as<AxesAttrs>().axes;
    axis = static_cast<int>(permutation[axis]);
    sequence = n.inputs[0];
  }
  const Node& scan = g.producer(sequence);
  if (scan.op != Op::kScan || axis != 0) return none;
  const auto& at = scan.as<ScanAttrs>();
  const int32_t output = g.info(sequence).output;
  if (output < at.num_carry || t != (at.reverse ? 0 : at.length - 1)) return none;
  for (int32_t i = 0; i < at.num_carry; ++i) {
    if (at.body->outputs()[i].value != at.body->outputs()[output].value) continue;
    const Value state = ExpandDims(g.value(scan.outputs[i]), 0);
    return permutation.empty() ? state : Transpose(state, permutation);
  }
  return none;
}

}  // namespace strata
