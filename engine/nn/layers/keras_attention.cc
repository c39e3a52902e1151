// Keras' attentions: dot product, additive, and in several heads.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/attention.h"
#include "engine/nn/layers/dropout.h"
#include "engine/ops/ops.h"

namespace strata::nn {

Value MaskScores(Value scores, Value keep, double large) {
  if (!keep) return scores;
  // As float32 has it: next to -large a score is lost, but its gradient is not.
  return Select(keep, scores, (scores - Detach(scores)) - large);
}

Value CausalMask(Graph* g, int64_t queries, int64_t keys) {
  return LessEqual(Iota(g, {queries, keys}, 1, DType::kI32), Iota(g, {queries, keys}, 0, DType::kI32));
}

namespace {

struct Inputs {
  Value q, v, k, q_mask, v_mask;
};

Inputs InputsOf(Scope& s, const Args& args) {
  Inputs in{args[0], args[1], args.size() > 2 ? args[2].value : args[1].value, args[0].mask, args[1].mask};
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
  }
  return in;
}

// softmax of masked scores [N, T, S], dropout, and the weighted values; rows of masked queries are zero.
Outputs Finish(Scope& s, const Inputs& in, Value scores, double dropout, bool causal, bool return_scores) {
  Value keep;
  if (in.v_mask) keep = ExpandDims(in.v_mask, 1);
  if (causal) {
    const Value lower = CausalMask(s.graph(), in.q.dim(1), in.k.dim(1));
    keep = keep ? And(keep, lower) : lower;
  }
  Value weights = Softmax(MaskScores(scores, keep, 1e9), -1);
  if (s.training()) weights = DropWith(s, weights, dropout, weights.shape(), "dropout");
  Value y = MatMul(weights, in.v);
  if (in.q_mask) y = y * Cast(ExpandDims(in.q_mask, 2), y.dtype());
  Annotated out = y;
  out.mask = in.q_mask;
  Outputs outputs{out};
  if (return_scores) outputs.push_back(weights);
  return outputs;
}

// The sum over features of f(q + k) for every pair: [N, T, S].
Value PairSum(Value q, Value k, Value scale_before, Value scale_after) {
  Value sum = ExpandDims(q, 2) + ExpandDims(k, 1);
  if (scale_before) sum = sum * scale_before;
  sum = Tanh(sum);
  return ReduceSum(scale_after ? sum * scale_after : sum, {-1});
}

Outputs BuildAttention(Scope& s, const v1::Attention& a, const Args& args) {
  const Inputs in = InputsOf(s, args);
  if (!s.ok()) return {Value{s.graph(), -1}};
  if (in.q.dim(2) != in.k.dim(2)) {
    return {s.Fail(
        absl::StrCat("inputs: query and key must have as many features, got ", in.q.dim(2), " and ", in.k.dim(2)))};
  }
  Value scale;
  if (a.use_scale()) scale = s.Param("scale", {}, {.initializer = ConstantValue(1)});
  Value scores;
  if (a.score_mode() == "concat") {
    scores = PairSum(in.q, in.k, scale, {}) * s.Param("concat_score_weight", {}, {.initializer = ConstantValue(1)});
  } else {
    scores = MatMul(in.q, in.k, false, true);
    if (scale) scores = scores * scale;
  }
  return Finish(s, in, scores, a.dropout(), a.causal(), a.return_attention_scores());
}

Outputs BuildAdditive(Scope& s, const v1::AdditiveAttention& a, const Args& args) {
  const Inputs in = InputsOf(s, args);
  if (!s.ok()) return {Value{s.graph(), -1}};
  if (in.q.dim(2) != in.k.dim(2)) {
    return {s.Fail(
        absl::StrCat("inputs: query and key must have as many features, got ", in.q.dim(2), " and ", in.k.dim(2)))};
  }
  Value scale;
  if (a.use_scale()) {
    // One feature spreads over the other's.
    if (in.v.dim(2) != in.q.dim(2) && in.v.dim(2) != 1 && in.q.dim(2) != 1) {
      return {s.Fail(absl::StrCat("use_scale|inputs: query and value must have as many features, got ", in.q.dim(2),
                                  " and ", in.v.dim(2)))};
    }
    v1::Initializer glorot;
    glorot.mutable_variance_scaling()->set_scale(1);
    glorot.mutable_variance_scaling()->set_mode(v1::VarianceScalingInitializer::FAN_AVG);
    glorot.mutable_variance_scaling()->set_distribution(v1::VarianceScalingInitializer::UNIFORM);
    scale = s.Param("scale", {in.v.dim(2)}, {.initializer = glorot});
  }
  return Finish(s, in, PairSum(in.q, in.k, {}, scale), a.dropout(), a.causal(), a.return_attention_scores());
}

// x [..., D] times a kernel [D, H, d] plus [H, d]: [..., H, d].
Value Project(Scope& s, const v1::KerasMultiHeadAttention& a, Value x, const std::string& name, int64_t heads,
              int64_t width) {
  const Value kernel = s.Param(name + "/kernel", {x.dim(-1), heads, width},
                               {.initializer = a.kernel_initializer(),
                                .regularizer = a.has_kernel_regularizer() ? &a.kernel_regularizer() : nullptr,
                                .constraint = a.has_kernel_constraint() ? &a.kernel_constraint() : nullptr});
  Value y = MatMul(x, Reshape(kernel, {x.dim(-1), heads * width}));
  Shape shape = x.shape();
  shape.back() = heads;
  shape.push_back(width);
  y = Reshape(y, shape);
  if (!a.use_bias()) return y;
  return y + s.Param(name + "/bias", {heads, width},
                     {.initializer = a.bias_initializer(),
                      .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
                      .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr});
}

// Axes as [batch axes, H, attended axes merged, d]; remembers nothing: `order` brings x [N, ..., H, d] there.
std::vector<int64_t> HeadOrder(int rank, const std::vector<int64_t>& attended) {
  std::vector<int64_t> order;
  for (int i = 0; i < rank - 2; ++i) {
    if (std::find(attended.begin(), attended.end(), i) == attended.end()) order.push_back(i);
  }
  order.push_back(rank - 2);
  order.insert(order.end(), attended.begin(), attended.end());
  order.push_back(rank - 1);
  return order;
}

struct Merged {
  Value value;   // [batch axes..., H, attended, d]
  Shape before;  // after the transposition, before merging
};
Merged Merge(Value x, const std::vector<int64_t>& attended) {
  Merged m;
  const Value moved = Transpose(x, HeadOrder(x.rank(), attended));
  m.before = moved.shape();
  Shape shape(moved.shape().begin(), moved.shape().end() - 1 - static_cast<int64_t>(attended.size()));
  shape.push_back(-1);
  shape.push_back(moved.dim(-1));
  m.value = Reshape(moved, shape);
  return m;
}

Outputs BuildMultiHead(Scope& s, const v1::KerasMultiHeadAttention& a, const Args& args) {
  const Value query = args[0], value = args[1], key = args.size() > 2 ? args[2].value : args[1].value;
  if (query.rank() < 3 || query.rank() != value.rank() || value.rank() != key.rank()) {
    return {s.Fail(absl::StrCat("inputs: must have as many axes, 3 or more, got ", ShapeString(query.shape()), " and ",
                                ShapeString(value.shape())))};
  }
  const int64_t heads = a.num_heads(), key_dim = a.key_dim(),
                value_dim = a.has_value_dim() ? a.value_dim() : a.key_dim();
  const int rank = query.rank();
  std::vector<int64_t> attended(a.attention_axes().begin(), a.attention_axes().end());
  if (attended.empty()) {
    for (int i = 1; i < rank - 1; ++i) attended.push_back(i);
  }
  for (int64_t& axis : attended) axis += axis < 0 ? rank : 0;
  for (const int64_t axis : attended) {
    if (axis < 1 || axis >= rank - 1 || std::count(attended.begin(), attended.end(), axis) > 1)
      return {s.Fail(absl::StrCat("attention_axes: must name different axes between batch and features, got ", axis))};
  }
  for (int i = 0; i < rank - 1; ++i) {
    const bool apart = std::count(attended.begin(), attended.end(), i) > 0;
    if (key.dim(i) == value.dim(i) && (apart || query.dim(i) == key.dim(i))) continue;
    return {s.Fail(absl::StrCat("inputs: query, value and key must have equal sizes of axis ", i, ", got ",
                                ShapeString(query.shape()), ", ", ShapeString(value.shape()), " and ",
                                ShapeString(key.shape())))};
  }
  const Value q = Project(s, a, query, "query", heads, key_dim), k = Project(s, a, key, "key", heads, key_dim),
              v = Project(s, a, value, "value", heads, value_dim);
  if (!s.ok()) return {Value{s.graph(), -1}};
  const Merged mq = Merge(q, attended), mk = Merge(k, attended), mv = Merge(v, attended);
  if (!s.ok()) return {Value{s.graph(), -1}};
  Value scores =
      MatMul(mq.value * (1 / std::sqrt(static_cast<double>(key_dim))), mk.value, false, true);  // [..., H, T, S]
  Value keep = args.Named("attention_mask");
  const auto combine = [&](Value other) { keep = keep ? And(keep, other) : other; };
  if (keep) keep = keep.dtype() == DType::kBool ? keep : Not(Equal(keep, Like(keep, 0)));
  if (rank == 3) {
    if (args[0].mask) combine(ExpandDims(args[0].mask, 2));
    if (args[1].mask) combine(ExpandDims(args[1].mask, 1));
    if (args.size() > 2 && args[2].mask) combine(ExpandDims(args[2].mask, 1));
  }
  if (a.use_causal_mask()) combine(ExpandDims(CausalMask(s.graph(), scores.dim(-2), scores.dim(-1)), 0));
  if (keep) {
    // [N, T, S] against [N, ..., H, T, S].
    while (keep.rank() < scores.rank()) keep = ExpandDims(keep, keep.rank() - 2);
  }
  const Value weights = Softmax(MaskScores(scores, keep, 1e9), -1);
  const Value used = s.training() ? DropWith(s, weights, a.dropout(), weights.shape(), "dropout") : weights;
  Value y = MatMul(used, mv.value);  // [..., H, T, dv]
  Shape split = mq.before;
  split.back() = value_dim;
  y = Reshape(y, split);
  const std::vector<int64_t> order = HeadOrder(q.rank(), attended);
  std::vector<int64_t> back(order.size());
  for (size_t i = 0; i < order.size(); ++i) back[order[i]] = static_cast<int64_t>(i);
  y = Transpose(y, back);  // [N, ..., H, dv]
  Shape flat(y.shape().begin(), y.shape().end() - 2), features(a.output_shape().begin(), a.output_shape().end());
  flat.push_back(heads * value_dim);
  if (features.empty()) features = {query.dim(-1)};
  const int64_t width = NumElements(features);
  Shape kernel_shape{heads, value_dim};
  kernel_shape.insert(kernel_shape.end(), features.begin(), features.end());
  const Value kernel = s.Param("attention_output/kernel", kernel_shape,
                               {.initializer = a.kernel_initializer(),
                                .regularizer = a.has_kernel_regularizer() ? &a.kernel_regularizer() : nullptr,
                                .constraint = a.has_kernel_constraint() ? &a.kernel_constraint() : nullptr});
  y = MatMul(Reshape(y, flat), Reshape(kernel, {heads * value_dim, width}));
  flat.pop_back();
  flat.insert(flat.end(), features.begin(), features.end());
  y = Reshape(y, flat);
  if (a.use_bias()) {
    y = y + s.Param("attention_output/bias", features,
                    {.initializer = a.bias_initializer(),
                     .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
                     .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr});
  }
  Annotated out = y;
  out.mask = args[0].mask;
  Outputs outputs{out};
  if (a.return_attention_scores()) {
    // The attended axes apart again: [N, ..., H, T axes, S axes].
    const auto count = static_cast<int64_t>(attended.size());
    Shape shape(mq.before.begin(), mq.before.end() - 1);
    shape.insert(shape.end(), mk.before.end() - 1 - count, mk.before.end() - 1);
    outputs.push_back(Reshape(used, shape));
  }
  return outputs;
}

}  // namespace

std::vector<Component> KerasAttentionLayers() {
  std::vector<Component> list;
  list.push_back(Layer<v1::Attention>("attention", &BuildAttention)
                     .Shapes("q[N, T, D], v[N, S, E], k[N, S, D] -> y[N, T, E]")
                     .Inputs(2, 3)
                     .Mask(MaskRule::kConsume)
                     .Named(v1::KERAS, {"query_mask", "value_mask"})
                     .With({"use_scale: true", {{2, 3, 4}, {2, 5, 4}}, v1::KERAS})
                     .With({"causal: true return_attention_scores: true", {{1, 3, 4}, {1, 3, 2}, {1, 3, 4}}, v1::KERAS})
                     .With({"score_mode: \"concat\" dropout: 0.5", {{2, 1, 3}, {2, 4, 3}}, v1::KERAS}));
  list.push_back(Layer<v1::AdditiveAttention>("additive_attention", &BuildAdditive)
                     .Shapes("q[N, T, D], v[N, S, D], k[N, S, D] -> y[N, T, D]")
                     .Inputs(2, 3)
                     .Mask(MaskRule::kConsume)
                     .Named(v1::KERAS, {"query_mask", "value_mask"})
                     .With({"", {{2, 3, 4}, {2, 5, 4}}, v1::KERAS})
                     .With({"use_scale: false causal: true", {{1, 3, 4}, {1, 3, 2}, {1, 3, 4}}, v1::KERAS})
                     .With({"return_attention_scores: true", {{2, 1, 3}, {2, 2, 3}}, v1::KERAS}));
  list.push_back(
      Layer<v1::KerasMultiHeadAttention>("keras_multi_head_attention", &BuildMultiHead)
          .Shapes("q[N, ..., D], v[N, ..., E], k[N, ..., F] -> y[N, ..., D]")
          .Inputs(2, 3)
          .Mask(MaskRule::kConsume)
          .Named(v1::KERAS, {"attention_mask"})
          .With({"num_heads: 2 key_dim: 3", {{2, 3, 4}, {2, 5, 4}}, v1::KERAS})
          .With({"num_heads: 1 key_dim: 2 value_dim: 3 output_shape: 5 use_causal_mask: true",
                 {{1, 3, 4}, {1, 3, 2}},
                 v1::KERAS})
          .With(
              {"num_heads: 2 key_dim: 2 attention_axes: 2 use_bias: false", {{1, 2, 3, 4}, {1, 2, 2, 4}}, v1::KERAS}));
  return list;
}

}  // namespace strata::nn
