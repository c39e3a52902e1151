// The axes behind the batch in another order.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::Permute& a, const Args& args) {
  const Value x = args[0];
  std::vector<int64_t> p{0};
  p.insert(p.end(), a.dims().begin(), a.dims().end());
  std::vector<bool> seen(p.size(), false);
  for (int64_t d : p) {
    if (static_cast<int>(p.size()) != x.rank() || d < 0 || d >= x.rank() || seen[d]) {
      return {s.Fail(absl::StrCat("dims|input: must be a permutation of 1 to ", x.rank() - 1, ", got ",
                                  ShapeString(std::span(a.dims().data(), static_cast<size_t>(a.dims_size())))))};
    }
    seen[d] = true;
  }
  return {Transpose(x, p)};
}

}  // namespace

Components Permute() {
  return Layer<v1::Permute>("permute", &Build)
      .Shapes("x[N, ...] -> y[N, permuted...]")
      .With("dims: [2, 1]", {{2, 3, 4}})
      .With("dims: [3, 1, 2]", {{2, 3, 4, 5}})
      .With("dims: 1", {{2, 3}});
}

}  // namespace strata::nn
