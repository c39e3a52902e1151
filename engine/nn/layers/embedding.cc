// Row lookup.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// The table with every row that `ids` names and whose norm exceeds `max_norm` scaled down to it.
Value Renormalize(Value table, Value ids, double max_norm, double p) {
  Value norm;
  if (std::isinf(p)) {
    norm = ReduceMax(Abs(table), {1}, true);
  } else if (p == 2) {
    norm = Sqrt(ReduceSum(Square(table), {1}, true));
  } else if (p == 1) {
    norm = ReduceSum(Abs(table), {1}, true);
  } else {
    const Value powers = Pow(Abs(table), Like(table, p));
    norm = Pow(ReduceSum(powers, {1}, true), Like(table, 1 / p));
  }
  const Value flat = Reshape(ids, {-1, 1});
  const Value used = ScatterAdd(Reshape(ids, {-1}), Full(table.graph, 1, flat.shape(), table.dtype()), table.dim(0));
  const Value shrink = And(Greater(used, Like(used, 0)), Greater(norm, Like(norm, max_norm)));
  return Select(shrink, table * (max_norm / (norm + 1e-7)), table);
}

Outputs BuildPytorch(Scope& s, const v1::Embedding& a, Value ids) {
  int64_t padding = -1;
  if (a.has_padding_idx()) {
    padding = a.padding_idx() < 0 ? a.padding_idx() + a.input_dim() : a.padding_idx();
    if (padding < 0 || padding >= a.input_dim()) {
      return {s.Fail(absl::StrCat("padding_idx: must be within the ", a.input_dim(), " rows, got ", a.padding_idx()))};
    }
  }
  const int64_t width = a.output_dim();
  const Value table =
      s.Param("weight", {a.input_dim(), width}, {.initializer = Normal(1), .adjust = [padding, width](Tensor* t) {
                                                   for (int64_t i = 0; padding >= 0 && i < width; ++i)
                                                     t->Set(padding * width + i, 0);
                                                 }});
  Value y = Gather(table, ids);
  if (!a.has_max_norm() && !a.scale_grad_by_freq() && padding < 0) return {y};
  // What follows changes values or gradients only.
  const Value still = Detach(table);
  Value rows = Gather(still, ids);  // y's values, without its gradient
  if (a.has_max_norm()) {
    const Value scaled = Renormalize(still, ids, a.max_norm(), a.norm_type());
    const Value unscaled = rows;
    rows = Gather(scaled, ids);
    y = y + (rows - unscaled);
    s.SetState(table, scaled);
  }
  if (a.scale_grad_by_freq()) {
    const Value flat = Reshape(ids, {-1});
    const Value counts = ScatterAdd(flat, Full(s.graph(), 1, {flat.dim(0), 1}, y.dtype()), a.input_dim());
    const Value share = 1.0 / Gather(counts, ids);
    y = y * share + rows * (1 - share);
  }
  if (padding >= 0) y = Select(Equal(ExpandDims(ids, -1), Like(ids, static_cast<double>(padding))), rows, y);
  return {y};
}

Outputs BuildEmbedding(Scope& s, const v1::Embedding& a, const Args& args) {
  Value ids = args[0];
  if (IsFloat(ids.dtype())) {
    if (s.pytorch()) return {s.Fail(absl::StrCat("input: must be integers, got ", DTypeName(ids.dtype())))};
    ids = Cast(ids, DType::kI32);
  } else if (ids.dtype() != DType::kI64) {
    ids = Cast(ids, DType::kI32);
  }
  s.Require(And(GreaterEqual(ids, Like(ids, 0)), Less(ids, Like(ids, static_cast<double>(a.input_dim())))),
            absl::StrCat("input: ids must be in [0, ", a.input_dim(), ")"));
  if (s.pytorch()) return BuildPytorch(s, a, ids);
  const Value table = s.Param("embeddings", {a.input_dim(), a.output_dim()},
                              {.initializer = a.embeddings_initializer(),
                               .regularizer = a.has_embeddings_regularizer() ? &a.embeddings_regularizer() : nullptr,
                               .constraint = a.has_embeddings_constraint() ? &a.embeddings_constraint() : nullptr});
  Annotated y = Gather(table, ids);
  if (a.mask_zero()) y.mask = Not(Equal(ids, Like(ids, 0)));
  return {y};
}

}  // namespace

Components Embedding() {
  return Layer<v1::Embedding>("embedding", &BuildEmbedding)
      .Shapes("ids[...] -> y[..., output_dim]")
      .Mask(MaskRule::kConsume)
      .With({.attrs = "input_dim: 5 output_dim: 3", .inputs = {{2, 4}}, .ids_below = 5})
      .With({.attrs = "input_dim: 7 output_dim: 1", .inputs = {{3}}, .ids_below = 7})
      .With({.attrs = "input_dim: 5 output_dim: 3 padding_idx: 1",
             .inputs = {{2, 4}},
             .dialect = v1::PYTORCH,
             .no_gradient = "the padding row gets none",
             .ids_below = 5})
      .With({.attrs = "input_dim: 5 output_dim: 3 mask_zero: true",
             .inputs = {{2, 3}},
             .dialect = v1::KERAS,
             .ids_below = 5});
}

}  // namespace strata::nn
