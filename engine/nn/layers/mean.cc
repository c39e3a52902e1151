// The mean over axes.
#include "engine/nn/component.h"
#include "engine/nn/layers/axes.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::Mean& a, const Args& args) {
  std::vector<int64_t> axes;
  for (int64_t given : a.axis()) {
    axes.push_back(NamedAxis(s, given, args[0]));
    if (axes.back() < 0) return {Value{s.graph(), -1}};
    if (axes.back() == 0) s.MixRows();
  }
  return {ReduceMean(args[0], axes, a.keepdims())};
}

}  // namespace

Components Mean() {
  return Layer<v1::Mean>("mean", &Build)
      .Shapes("x[...] -> y[rest...]")
      .With("axis: 1", {{2, 3, 4}})
      .With("axis: [1, 2] keepdims: true", {{2, 3, 1}})
      .With("axis: -1", {{5, 7}});
}

}  // namespace strata::nn
