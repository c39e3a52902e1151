#include "engine/nn/layers/keras_attention.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/nn/layers/dropout.h"
#include "engine/ops/ops.h"

namespace strata::nn {

Value MaskScores(Value scores, Value keep) {
  if (!keep) return scores;
  // As float32 has it: next to -1e9 a score is lost, but its gradient is not.
  return Select(keep, scores, (scores - Detach(scores)) - 1e9);
}

Value CausalMask(Graph* g, int64_t queries, int64_t keys) {
  return LessEqual(Iota(g, {queries, keys}, 1, DType::kI32), Iota(g, {queries, keys}, 0, DType::kI32));
}

AttentionInputs AttentionInputsOf(Scope& s, const Args& args) {
  AttentionInputs in{args[0], args[1], args.size() > 2 ? args[2].value : args[1].value, args[0].mask, args[1].mask};
  if (args.Named("query_mask").value) in.q_mask = args.Named("query_mask");
  if (args.Named("value_mask").value) in.v_mask = args.Named("value_mask");
  if (in.q.rank() != 3 || in.v.rank() != 3 || in.k.rank() != 3) {
    s.Fail(
        absl::StrCat("inputs: must have 3 axes, got ", ShapeString(in.q.shape()), " and ", ShapeString(in.v.shape())));
    return in;
  }
  // A batch of one goes with any.
  const int64_t batch = std::max({in.q.dim(0), in.v.dim(0), in.k.dim(0)});
  for (Value* x : {&in.q, &in.v, &in.k}) {
    if (x->dim(0) == 1 && batch > 1) *x = Broadcast(*x, {batch, x->dim(1), x->dim(2)});
    if (x->dim(0) == batch) continue;
    s.Fail(absl::StrCat("inputs: must have batches of equal sizes, got ", batch, " and ", x->dim(0)));
    return in;
  }
  if (in.k.dim(1) != in.v.dim(1)) {
    s.Fail(absl::StrCat("inputs: key and value must have as many steps, got ", in.k.dim(1), " and ", in.v.dim(1)));
    return in;
  }
  if (in.q.dim(2) != in.k.dim(2)) {
    s.Fail(absl::StrCat("inputs: query and key must have as many features, got ", in.q.dim(2), " and ", in.k.dim(2)));
  }
  return in;
}

Value PairSum(Value q, Value k, Value scale_before, Value scale_after) {
  Value sum = ExpandDims(q, 2) + ExpandDims(k, 1);
  if (scale_before) sum = sum * scale_before;
  sum = Tanh(sum);
  return ReduceSum(scale_after ? sum * scale_after : sum, {-1});
}

Outputs FinishAttention(Scope& s, const AttentionInputs& in, Value scores, double dropout, bool causal,
                        bool return_scores) {
  Value keep;
  if (in.v_mask) keep = ExpandDims(in.v_mask, 1);
  if (causal) {
    const Value lower = CausalMask(s.graph(), in.q.dim(1), in.k.dim(1));
    keep = keep ? And(keep, lower) : lower;
  }
  Value weights = Softmax(MaskScores(scores, keep), -1);
  if (s.training()) weights = DropWith(s, weights, dropout, weights.shape(), "dropout");
  Value y = MatMul(weights, in.v);
  if (in.q_mask) y = y * Cast(ExpandDims(in.q_mask, 2), y.dtype());
  Annotated out = y;
  out.mask = in.q_mask;
  Outputs outputs{out};
  if (return_scores) outputs.push_back(weights);
  return outputs;
}

}  // namespace strata::nn
