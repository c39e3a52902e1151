// Attention in several heads. PyTorch's heads share out the query's features; Keras' have sizes of their own. Arguments
// are query, key, value in PyTorch and query, value, key in Keras.
#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"

namespace strata::convert {
namespace {

// Rows `part` of `parts` equal blocks along axis 0.
Tensor Block(const Tensor& t, int64_t part, int64_t parts) {
  const int64_t rows = t.shape()[0] / parts;
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < rows; ++i) indices.push_back(part * rows + i);
  return Taken(t, 0, indices);
}

// (D, H, d) to (H d, D), and a bias (H, d) to (H d).
Tensor RowsOf(const Tensor& kernel) {
  const Shape& s = kernel.shape();
  return Transposed(Reshaped(kernel, {s[0], s[1] * s[2]}), {1, 0});
}
Tensor KernelOf(const Tensor& rows, int64_t heads) {
  const Shape& s = rows.shape();
  return Reshaped(Transposed(rows, {1, 0}), {s[1], heads, s[0] / heads});
}

constexpr const char* kPytorchParts[] = {"q_proj_weight", "k_proj_weight", "v_proj_weight"};
constexpr const char* kKerasParts[] = {"query", "key", "value"};

void AttentionToKeras(Site& s) {
  const auto& a = s.As<v1::MultiheadAttention>();
  if (!s.named().empty()) s.Refuse("key_padding_mask|attn_mask", "Keras' mask says where to look, PyTorch's where not");
  if (a.is_causal()) s.Refuse("is_causal", "it is a hint for a mask, got true");
  if (!a.batch_first()) s.Refuse("batch_first", "Keras' takes the batch axis first, got false");
  for (const auto& [name, set] :
       {std::pair{"add_bias_kv", a.add_bias_kv()}, std::pair{"add_zero_attn", a.add_zero_attn()}}) {
    if (set) s.Refuse(name, "Keras appends no key and value, got true");
  }
  if (s.rank(0) != 3) s.Refuse("", "Keras takes no sequence without a batch axis");
  v1::Layer layer =
      s.Draft("keras_multi_head_attention", {"embed_dim", "add_bias_kv", "add_zero_attn", "kdim", "vdim", "batch_first",
                                             "need_weights", "average_attn_weights", "is_causal"});
  if (s.failed()) return;
  const int64_t heads = a.num_heads();
  v1::KerasMultiHeadAttention* m = layer.mutable_keras_multi_head_attention();
  m->set_key_dim(a.embed_dim() / heads);
  const bool scores = s.results().size() > 1 && s.Used(1);
  if (scores) m->set_return_attention_scores(true);
  const v1::Edge query = s.Plain(0), key = s.Plain(1), value = s.Plain(2);
  const Made made = s.Main(layer, {query, value, key});
  const bool packed = s.shape(1)[2] == a.embed_dim() && s.shape(2)[2] == a.embed_dim();
  for (int part = 0; part < 3; ++part) {
    s.Move(made, absl::StrCat(kKerasParts[part], "/kernel"), {packed ? "in_proj_weight" : kPytorchParts[part]},
           [=](const std::vector<const Tensor*>& t) {
             return KernelOf(packed ? Block(*t[0], part, 3) : t[0]->Clone(), heads);
           });
    if (!a.use_bias()) continue;
    s.Move(made, absl::StrCat(kKerasParts[part], "/bias"), {"in_proj_bias"}, [=](const std::vector<const Tensor*>& t) {
      const Tensor block = Block(*t[0], part, 3);
      return Reshaped(block, {heads, block.shape()[0] / heads});
    });
  }
  // (E, H d) to (H, d, E).
  s.Move(made, "attention_output/kernel", {"out_proj.weight"}, [=](const std::vector<const Tensor*>& t) {
    const Shape& w = t[0]->shape();
    return Reshaped(Transposed(*t[0], {1, 0}), {heads, w[1] / heads, w[0]});
  });
  if (a.use_bias()) s.Move(made, "attention_output/bias", {"out_proj.bias"}, Copy());
  s.Put(made.edge, Layout::Plain(3));
  if (!scores) return;
  v1::Edge weights = OutputOf(made.edge, 1);
  if (a.average_attn_weights()) {
    v1::Layer mean = MakeLayer("mean");
    mean.mutable_mean()->add_axis(1);
    weights = s.Helper("_average", mean, {weights});
  }
  s.Put(weights, Layout::Plain(s.results()[1].shape.size()));
}

void AttentionToPytorch(Site& s) {
  const auto& a = s.As<v1::KerasMultiHeadAttention>();
  if (!s.named().empty()) s.Refuse("attention_mask", "PyTorch's mask says where not to look, Keras' where to");
  if (a.use_causal_mask()) s.Refuse("use_causal_mask", "PyTorch takes a mask as an argument, got true");
  if (s.rank(0) != 3) {
    return s.Refuse("", absl::StrCat("PyTorch's takes inputs of 3 axes, got ", ShapeString(s.shape(0))));
  }
  const int64_t width = s.shape(0)[2], heads = a.num_heads();
  const int64_t value_dim = a.has_value_dim() ? a.value_dim() : a.key_dim();
  if (a.key_dim() * heads != width) {
    s.Refuse("key_dim", absl::StrCat("PyTorch's heads share out the query's ", width, " features, got ", heads,
                                     " heads of ", a.key_dim()));
  }
  if (value_dim != a.key_dim()) {
    s.Refuse("value_dim", absl::StrCat("PyTorch's is key_dim, ", a.key_dim(), ", got ", value_dim));
  }
  if (a.output_shape_size() > 1 || (a.output_shape_size() == 1 && a.output_shape(0) != width)) {
    s.Refuse("output_shape", absl::StrCat("PyTorch's is the query's features, ", width, ", got another"));
  }
  if (a.attention_axes_size() > 1 || (a.attention_axes_size() == 1 && a.attention_axes(0) != 1)) {
    s.Refuse("attention_axes", "PyTorch attends over the steps, got others");
  }
  v1::Layer layer = s.Draft("multihead_attention", {"key_dim", "value_dim", "output_shape", "attention_axes",
                                                    "use_causal_mask", "return_attention_scores"});
  if (s.failed()) return;
  v1::MultiheadAttention* m = layer.mutable_multihead_attention();
  m->set_embed_dim(width);
  m->set_batch_first(true);
  if (a.return_attention_scores()) {
    m->set_average_attn_weights(false);
  } else {
    m->set_need_weights(false);
  }
  const int key_index = s.num_args() > 2 ? 2 : 1;
  const int64_t kdim = s.shape(key_index)[2], vdim = s.shape(1)[2];
  if (kdim != width) m->set_kdim(kdim);
  if (vdim != width) m->set_vdim(vdim);
  const v1::Edge query = s.Plain(0), value = s.Plain(1), key = s.Plain(key_index);
  const Made made = s.Main(layer, {query, key, value});
  if (kdim == width && vdim == width) {
    s.Move(made, "in_proj_weight", {"query/kernel", "key/kernel", "value/kernel"},
           [](const std::vector<const Tensor*>& t) {
             const Tensor q = RowsOf(*t[0]), k = RowsOf(*t[1]), v = RowsOf(*t[2]);
             return Concatenated({&q, &k, &v});
           });
  } else {
    for (int part = 0; part < 3; ++part) {
      s.Move(made, kPytorchParts[part], {absl::StrCat(kKerasParts[part], "/kernel")},
             [](const std::vector<const Tensor*>& t) { return RowsOf(*t[0]); });
    }
  }
  s.Move(made, "out_proj.weight", {"attention_output/kernel"}, [](const std::vector<const Tensor*>& t) {
    const Shape& k = t[0]->shape();
    return Transposed(Reshaped(*t[0], {k[0] * k[1], k[2]}), {1, 0});
  });
  if (a.use_bias()) {
    s.Move(made, "in_proj_bias", {"query/bias", "key/bias", "value/bias"}, [](const std::vector<const Tensor*>& t) {
      const Tensor all = Concatenated(t);
      return Reshaped(all, {all.num_elements()});
    });
    s.Move(made, "out_proj.bias", {"attention_output/bias"}, Copy());
  }
  s.Put(made.edge, Layout::Plain(3));
  if (a.return_attention_scores()) s.Put(OutputOf(made.edge, 1), Layout::Plain(4));
}

}  // namespace

std::vector<Record> AttentionRecords() {
  const char* const stack = "Keras 2 has no transformer, only its parts";
  std::vector<Record> records = {
      {.kind = "multihead_attention", .from = v1::PYTORCH, .rule = &AttentionToKeras},
      {.kind = "keras_multi_head_attention", .from = v1::KERAS, .rule = &AttentionToPytorch},
      {.kind = "masking", .from = v1::KERAS, .reason = "PyTorch's layers pass no masks on"},
      {.kind = "attention", .from = v1::KERAS, .reason = "PyTorch's attention projects its arguments"},
      {.kind = "additive_attention", .from = v1::KERAS, .reason = "PyTorch's attention has scaled products as scores"},
  };
  for (const char* kind : {"transformer_encoder_layer", "transformer_decoder_layer", "transformer_encoder",
                           "transformer_decoder", "transformer"}) {
    records.push_back({.kind = kind, .from = v1::PYTORCH, .reason = stack});
  }
  return records;
}

}  // namespace strata::convert
