// What torch.nn's transformers share: one step of an encoder or decoder, stacks of them, masks and layouts.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/nn/layers/recurrence.h"
#include "engine/nn/scope.h"
#include "engine/ops/ops.h"
#include "strata/v1/model.pb.h"

namespace strata::nn {

struct TransformerMasks {
  Value self, cross, self_padding, cross_padding;
  std::string self_name;  // the argument that `self` is
};

// x [N, T, E] through one layer, whose parameters stand under the scope.
Value EncoderStep(Scope& s, const v1::TransformerEncoderLayer& a, Value x, const TransformerMasks& m);
Value DecoderStep(Scope& s, const v1::TransformerDecoderLayer& a, Value x, Value memory, const TransformerMasks& m);

// Inputs to [N, T, E] and back.
struct TransformerFrame {
  bool unbatched, time_first;
  Value In(Value x) const {
    if (unbatched) return ExpandDims(x, 0);
    return time_first ? SwapBatchAndTime(x) : x;
  }
  Value Out(Value x) const {
    if (unbatched) return Squeeze(x, 0);
    return time_first ? SwapBatchAndTime(x) : x;
  }
  Value Padding(Value m) const { return m && unbatched ? ExpandDims(m, 0) : m; }
};

// The masks of a call. The stack calls `mask` what one layer calls `src_mask`.
TransformerMasks EncoderMasks(const Args& args, const TransformerFrame& f, const char* mask = "src_mask");
TransformerMasks DecoderMasks(const Args& args, const TransformerFrame& f);

// The layer norm behind a stack, with or without parameters.
Value FinalNorm(Scope& s, Value x, double epsilon, bool affine, bool use_bias);

// Fails, and is false, if the argument `name` is no sequence of the layer's features.
template <typename M>
bool CheckTransformer(Scope& s, const M& a, Value x, const char* name) {
  if (a.d_model() % a.nhead() != 0) {
    s.Fail(
        absl::StrCat("d_model|nhead|embed_dim|num_heads: must divide the features ", a.d_model(), ", got ", a.nhead()));
  } else if ((x.rank() != 2 && x.rank() != 3) || x.dim(-1) != a.d_model()) {
    s.Fail(absl::StrCat(name, ": must have 2 or 3 axes and ", a.d_model(), " features, got ", ShapeString(x.shape())));
  }
  return s.ok();
}

// Target and memory, of one batch.
template <typename L>
bool CheckTransformerMemory(Scope& s, const L& a, const Args& args) {
  if (!CheckTransformer(s, a, args[0], "tgt") || !CheckTransformer(s, a, args[1], "memory")) return false;
  const Shape &tgt = args[0].value.shape(), &memory = args[1].value.shape();
  const size_t batch = a.batch_first() ? 0 : 1;
  if (tgt.size() == memory.size() && (tgt.size() < 3 || tgt[batch] == memory[batch])) return true;
  s.Fail(absl::StrCat("tgt|memory: must have equal batch sizes, got ", ShapeString(tgt), " and ", ShapeString(memory)));
  return false;
}

template <typename M>
TransformerFrame FrameOf(Scope& s, const M& a, Value x) {
  const TransformerFrame f{x.rank() == 2, !a.batch_first()};
  if (f.unbatched || f.time_first) s.MixRows();  // axis 0 is time
  return f;
}

// Copies of a layer start with equal weights: their random numbers carry the first one's name.
template <typename F>
Value StackLayers(Scope& s, int64_t count, Value x, F step) {
  for (int64_t i = 0; i < count; ++i) {
    Scope layer = s.Enter(absl::StrCat("layers.", i), absl::StrCat("layers.", i), true, std::nullopt);
    layer.InitializeLike(absl::StrCat("layers.", i), "layers.0");
    x = step(layer, x);
  }
  return x;
}

}  // namespace strata::nn
