// Keras' attention in several heads, over any axes.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/dropout.h"
#include "engine/nn/layers/keras_attention.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

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
  const auto first = m.before.end() - 1 - static_cast<int64_t>(attended.size());
  Shape shape(m.before.begin(), first);
  shape.push_back(NumElements(Shape(first, m.before.end() - 1)));
  shape.push_back(moved.dim(-1));
  m.value = Reshape(moved, shape);
  return m;
}

Outputs Build(Scope& s, const v1::KerasMultiHeadAttention& a, const Args& args) {
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
  const Value weights = Softmax(MaskScores(scores, keep), -1);
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

Components KerasMultiHeadAttention() {
  return Layer<v1::KerasMultiHeadAttention>("keras_multi_head_attention", &Build)
      .Shapes("q[N, a..., D], v[N, b..., E], k[N, b..., F] -> y[N, a..., O]")
      .Takes(kFloats)
      .Inputs(2, 3)
      .Mask(MaskRule::kConsume)
      .Named(v1::KERAS, {"attention_mask"})
      .With({"num_heads: 2 key_dim: 3", {{2, 3, 4}, {2, 5, 4}}, v1::KERAS})
      .With({"num_heads: 1 key_dim: 2 value_dim: 3 output_shape: 5 use_causal_mask: true",
             {{1, 3, 4}, {1, 3, 2}},
             v1::KERAS})
      .With({"num_heads: 2 key_dim: 2 attention_axes: 2 use_bias: false", {{1, 2, 3, 4}, {1, 2, 2, 4}}, v1::KERAS});
}

}  // namespace strata::nn
