// torch.nn.MultiheadAttention.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/dropout.h"
#include "engine/nn/layers/multihead_attention.h"
#include "engine/nn/layers/recurrence.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

v1::Initializer XavierUniform() {
  v1::Initializer i;
  i.mutable_variance_scaling()->set_scale(1);
  i.mutable_variance_scaling()->set_mode(v1::VarianceScalingInitializer::FAN_AVG);
  i.mutable_variance_scaling()->set_distribution(v1::VarianceScalingInitializer::UNIFORM);
  return i;
}

v1::Initializer XavierNormal() {
  v1::Initializer i = XavierUniform();
  i.mutable_variance_scaling()->set_distribution(v1::VarianceScalingInitializer::NORMAL);
  return i;
}

struct Projected {
  Value q, k, v;
};

Value Bias(Scope& s, int64_t width) { return s.Param("in_proj_bias", {3 * width}, {.initializer = ConstantValue(0)}); }
Value Weight(Scope& s, int64_t width) {
  return s.Param("in_proj_weight", {3 * width, width}, {.initializer = XavierUniform()});
}

// Query, key and value [N, H, T, d] of one x [N, T, H d], by one product and one movement.
Projected ProjectSelf(Scope& s, const HeadOptions& o, Value x) {
  const int64_t batch = x.dim(0), time = x.dim(1), width = x.dim(2);
  Value all = MatMul(x, Weight(s, width), false, true);
  if (o.use_bias) all = all + Bias(s, width);
  all = Transpose(Reshape(all, {batch, time, 3, o.heads, width / o.heads}), {2, 0, 3, 1, 4});
  const std::vector<Value> parts = Split(all, 0, 3);
  return {Squeeze(parts[0], 0), Squeeze(parts[1], 0), Squeeze(parts[2], 0)};
}

// [N, T, H d] each.
Projected Project(Scope& s, const HeadOptions& o, Value query, Value key, Value value) {
  const int64_t width = query.dim(-1);
  Projected p;
  if (o.separate_weights) {
    p.q = MatMul(query, s.Param("q_proj_weight", {width, width}, {.initializer = XavierUniform()}), false, true);
    p.k = MatMul(key, s.Param("k_proj_weight", {width, key.dim(-1)}, {.initializer = XavierUniform()}), false, true);
    p.v =
        MatMul(value, s.Param("v_proj_weight", {width, value.dim(-1)}, {.initializer = XavierUniform()}), false, true);
  } else {
    const std::vector<Value> parts = Split(Weight(s, width), 0, 3);
    p = {MatMul(query, parts[0], false, true), MatMul(key, parts[1], false, true),
         MatMul(value, parts[2], false, true)};
  }
  if (o.use_bias) {
    const std::vector<Value> b = Split(Bias(s, width), 0, 3);
    p = {p.q + b[0], p.k + b[1], p.v + b[2]};
  }
  return p;
}

// [N, T, H d] -> [N, H, T, d].
Value SplitHeads(Value x, int64_t heads) {
  return Transpose(Reshape(x, {x.dim(0), x.dim(1), heads, x.dim(2) / heads}), {0, 2, 1, 3});
}

// A bool mask ignores where it is true; a float mask is added.
Value AddMask(Value scores, Value mask) {
  if (mask.dtype() == DType::kBool) return Select(Broadcast(mask, scores.shape()), Like(scores, -INFINITY), scores);
  return scores + Cast(mask, scores.dtype());
}

// Where a mask hides, true.
Value Hidden(Value mask) { return mask.dtype() == DType::kBool ? mask : Equal(mask, Like(mask, -INFINITY)); }

// The softmax of scores, where those that `hidden` hides in every place of a row (they are all -inf) weigh nothing.
Value SafeSoftmax(Value scores, Value hidden) {
  const Value blind = Cast(ReduceMin(Cast(hidden, DType::kI32), {-1}, true), DType::kBool);
  const Value weights = Softmax(Select(blind, Like(scores, 0), scores), -1);
  return Select(blind, Like(weights, 0), weights);
}

}  // namespace

void DeclareHeads(Scope& s, const HeadOptions& o, int64_t width, int64_t kdim, int64_t vdim) {
  if (o.separate_weights) {
    s.Param("q_proj_weight", {width, width}, {.initializer = XavierUniform()});
    s.Param("k_proj_weight", {width, kdim}, {.initializer = XavierUniform()});
    s.Param("v_proj_weight", {width, vdim}, {.initializer = XavierUniform()});
  } else {
    Weight(s, width);
  }
  if (o.use_bias) Bias(s, width);
  for (const char* name : {"bias_k", "bias_v"}) {
    if (o.add_bias_kv) s.Param(name, {1, 1, width}, {.initializer = XavierNormal()});
  }
  s.Param("out_proj.weight", {width, width}, {.initializer = Uniform(1 / std::sqrt(static_cast<double>(width)))});
  if (o.use_bias) s.Param("out_proj.bias", {width}, {.initializer = ConstantValue(0)});
}

HeadResult MultiHead(Scope& s, Value query, Value key, Value value, const HeadOptions& o) {
  HeadResult result{{s.graph(), -1}, {s.graph(), -1}};
  const int64_t batch = query.dim(0), width = query.dim(2);
  if (o.attn_mask && o.attn_mask.rank() != 2 && o.attn_mask.rank() != 3) {
    s.Fail(absl::StrCat(o.mask_name, ": must have 2 or 3 axes, got ", ShapeString(o.attn_mask.shape())));
    return result;
  }
  if (o.key_padding_mask && o.key_padding_mask.rank() != 2) {
    s.Fail(absl::StrCat(o.padding_name, ": must have 2 axes, got ", ShapeString(o.key_padding_mask.shape())));
    return result;
  }
  DeclareHeads(s, o, width, key.dim(2), value.dim(2));
  const bool self = query == key && key == value && !o.separate_weights && !o.add_bias_kv && !o.add_zero_attn;
  Projected p = self ? ProjectSelf(s, o, query) : Project(s, o, query, key, value);
  Value padding = o.key_padding_mask, mask = o.attn_mask;
  const auto append = [&](Value k, Value v) {  // one more key and value, which no mask hides
    const Value keys[] = {p.k, Broadcast(k, {batch, 1, width})}, values[] = {p.v, Broadcast(v, {batch, 1, width})};
    p.k = Concat(keys, 1);
    p.v = Concat(values, 1);
    for (Value* m : {&padding, &mask}) {
      if (!*m) continue;
      std::vector<int64_t> lo(m->rank(), 0), hi(m->rank(), 0);
      hi.back() = 1;
      *m = Pad(*m, lo, hi);
    }
  };
  if (o.add_bias_kv) {
    append(s.Param("bias_k", {1, 1, width}, {.initializer = XavierNormal()}),
           s.Param("bias_v", {1, 1, width}, {.initializer = XavierNormal()}));
  }
  if (o.add_zero_attn) {
    const Value zero = Full(s.graph(), 0, {1, 1, width});
    append(zero, zero);
  }
  if (!s.ok()) return result;
  if (o.causal) {
    const Shape all{p.q.dim(-2), p.k.dim(-2)};
    mask = Greater(Iota(s.graph(), all, 1, DType::kI32), Iota(s.graph(), all, 0, DType::kI32));
  }
  const double scale = 1 / std::sqrt(static_cast<double>(width / o.heads));
  if (!self) p = {SplitHeads(p.q, o.heads), SplitHeads(p.k, o.heads), SplitHeads(p.v, o.heads)};
  Value scores = MatMul(p.q * scale, p.k, false, true);  // [N, H, T, S]
  Value hidden;
  if (mask) {
    const Shape full{batch * o.heads, scores.dim(2), scores.dim(3)};
    if (mask.rank() == 3 && mask.shape() == full) mask = Reshape(mask, scores.shape());
    if (mask.rank() == 3 || (mask.rank() == 2 && mask.shape() != Shape{scores.dim(2), scores.dim(3)})) {
      s.Fail(absl::StrCat(o.mask_name, ": must have shape ", ShapeString(Shape{scores.dim(2), scores.dim(3)}), " or ",
                          ShapeString(full), ", got ", ShapeString(mask.shape())));
      return result;
    }
    scores = AddMask(scores, mask);
    hidden = Hidden(mask);
  }
  if (padding) {
    if (padding.shape() != Shape{batch, scores.dim(3)}) {
      s.Fail(absl::StrCat(o.padding_name, ": must have shape ", ShapeString(Shape{batch, scores.dim(3)}), ", got ",
                          ShapeString(padding.shape())));
      return result;
    }
    padding = Reshape(padding, {batch, 1, 1, scores.dim(3)});
    scores = AddMask(scores, padding);
    hidden = hidden ? Or(hidden, Hidden(padding)) : Hidden(padding);
  }
  Value weights = hidden && o.zero_unseeing ? SafeSoftmax(scores, hidden) : Softmax(scores, -1);
  if (s.training()) weights = DropWith(s, weights, o.dropout, weights.shape(), "attention_dropout");
  Value y = Reshape(Transpose(MatMul(weights, p.v), {0, 2, 1, 3}), {batch, query.dim(1), width});
  const v1::Initializer out_init = Uniform(1 / std::sqrt(static_cast<double>(width)));
  y = MatMul(y, s.Param("out_proj.weight", {width, width}, {.initializer = out_init}), false, true);
  if (o.use_bias) y = y + s.Param("out_proj.bias", {width}, {.initializer = ConstantValue(0)});
  return {y, weights};
}

namespace {

Outputs Build(Scope& s, const v1::MultiheadAttention& a, const Args& args) {
  Value q = args[0], k = args[1], v = args[2];
  const bool same = q == k && k == v;
  const bool unbatched = q.rank() == 2;
  const Outputs nothing(2, Value{s.graph(), -1});
  for (Value* x : {&q, &k, &v}) {
    if (x->rank() != (unbatched ? 2 : 3)) {
      s.Fail(absl::StrCat("query|key|value: must all have 2 or 3 axes, got ", ShapeString(x->shape())));
      return nothing;
    }
    if (unbatched) *x = ExpandDims(*x, 0);
    if (!unbatched && !a.batch_first()) *x = SwapBatchAndTime(*x);
  }
  if (same) k = v = q;
  const int64_t kdim = a.has_kdim() ? a.kdim() : a.embed_dim(), vdim = a.has_vdim() ? a.vdim() : a.embed_dim();
  if (a.embed_dim() % a.num_heads() != 0) {
    s.Fail(absl::StrCat("embed_dim|num_heads: must divide the features ", a.embed_dim(), ", got ", a.num_heads()));
    return nothing;
  }
  if (q.dim(2) != a.embed_dim() || k.dim(2) != kdim || v.dim(2) != vdim || k.dim(1) != v.dim(1) ||
      k.dim(0) != q.dim(0) || v.dim(0) != q.dim(0)) {
    s.Fail(absl::StrCat("query|key|value: must have ", a.embed_dim(), ", ", kdim, " and ", vdim,
                        " features and as many rows, got ", ShapeString(q.shape()), ", ", ShapeString(k.shape()),
                        " and ", ShapeString(v.shape())));
    return nothing;
  }
  if (unbatched || !a.batch_first()) s.MixRows();  // axis 0 is time
  HeadOptions o{.heads = a.num_heads(),
                .dropout = a.dropout(),
                .use_bias = a.use_bias(),
                .add_bias_kv = a.add_bias_kv(),
                .add_zero_attn = a.add_zero_attn(),
                .separate_weights = kdim != a.embed_dim() || vdim != a.embed_dim(),
                .zero_unseeing = !a.need_weights()};
  o.attn_mask = args.Named("attn_mask");
  o.key_padding_mask = args.Named("key_padding_mask");
  if (a.is_causal() && !o.attn_mask) {
    s.Fail("is_causal|attn_mask: must come with attn_mask, got none");
    return nothing;
  }
  // Without weights to return, PyTorch takes the hint for the mask, whatever the mask says.
  o.causal = a.is_causal() && !a.need_weights() && !o.key_padding_mask;
  if (o.causal) o.attn_mask = {};
  if (o.key_padding_mask && unbatched) o.key_padding_mask = ExpandDims(o.key_padding_mask, 0);
  const HeadResult r = MultiHead(s, q, k, v, o);
  if (!s.ok()) return nothing;
  Value y = r.output;
  if (!unbatched && !a.batch_first()) y = SwapBatchAndTime(y);
  Outputs out{unbatched ? Squeeze(y, 0) : y};
  if (a.need_weights()) {
    const Value w = a.average_attn_weights() ? ReduceMean(r.weights, {1}) : r.weights;
    out.push_back(unbatched ? Squeeze(w, 0) : w);
  }
  return out;
}

}  // namespace

Components MultiheadAttention() {
  return Layer<v1::MultiheadAttention>("multihead_attention", &Build)
      .Shapes(
          "q[T, N, embed_dim] or q[N, T, embed_dim] or q[T, embed_dim], k[S, N, K] or k[N, S, K] or k[S, K], "
          "v[S, N, V] or v[N, S, V] or v[S, V] -> y[T, N, embed_dim] or y[N, T, embed_dim] or y[T, embed_dim], "
          "weights[N, T, S'] or weights[T, S']")
      .Takes(kFloats)
      .Arguments({"query", "key", "value"})
      .Inputs(3, 3)
      .Named(v1::PYTORCH, {"attn_mask", "key_padding_mask"})
      .With({"embed_dim: 4 num_heads: 2", {{3, 2, 4}, {5, 2, 4}, {5, 2, 4}}, v1::PYTORCH})
      .With({"embed_dim: 4 num_heads: 1 batch_first: true kdim: 3 vdim: 2 add_bias_kv: true",
             {{2, 3, 4}, {2, 5, 3}, {2, 5, 2}},
             v1::PYTORCH})
      .With({"embed_dim: 6 num_heads: 3 add_zero_attn: true use_bias: false", {{3, 6}, {2, 6}, {2, 6}}, v1::PYTORCH});
}

}  // namespace strata::nn
