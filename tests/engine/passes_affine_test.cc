// Per-channel maps after products with constant weights, and residual sums.
#include <random>

#include "tests/engine/passes_support.h"

namespace strata {
namespace {

Value RandomConstant(Graph* g, const Shape& shape, unsigned seed) {
  std::mt19937 rng(seed);
  return Constant(g, RandomTensor(DType::kF32, shape, &rng, {.low = 0.5, .high = 1.5}));
}

Value BatchNormOf(Graph* g, Value y) {
  const int64_t c = y.shape().back();
  const Value mean = RandomConstant(g, {c}, 1), variance = RandomConstant(g, {c}, 2);
  return (y - mean) / Sqrt(variance + 1e-5) * RandomConstant(g, {c}, 3) + RandomConstant(g, {c}, 4);
}

int Count(const Graph& g, Op op) {
  int n = 0;
  for (const Node& node : g.nodes()) n += node.op == op;
  return n;
}

TEST(FoldAffine, BatchNormJoinsTheConvolutionBeforeIt) {
  for (const bool bias : {false, true}) {
    Graph g;
    const Value x = g.AddInput("x", DType::kF32, {2, 8, 7, 5});
    const ConvAttrs at{.stride = {1, 2}, .pad_lo = {1, 1}, .pad_hi = {1, 0}, .dilation = {1, 1}};
    Value y = Conv(x, RandomConstant(&g, {3, 3, 5, 19}, 5), at);
    if (bias) y = y + RandomConstant(&g, {19}, 6);
    y = BatchNormOf(&g, y);
    g.MarkOutput("y", Select(LessEqual(y, Scalar(&g, 0)), Scalar(&g, 0), y));
    const Graph o = OptimizeAndCompare(g, {.tolerance = 2e-6, .scale = 50, .exact_threads = false});
    int steps = 0;
    for (const Node& n : o.nodes()) steps += n.op != Op::kConstant && n.op != Op::kInput;
    EXPECT_EQ(steps, 1) << ToText(o);
  }
}

TEST(FoldAffine, ScalesRowsOfTransposedWeights) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {9, 100});
  const Value y = MatMul(x, RandomConstant(&g, {31, 100}, 5), false, true);
  g.MarkOutput("y", BatchNormOf(&g, y));
  const Graph o = OptimizeAndCompare(g, {.tolerance = 2e-6, .scale = 50, .exact_threads = false});
  EXPECT_EQ(Count(o, Op::kFused), 0) << ToText(o);
}

TEST(FoldAffine, KeepsWhatElseReadsTheProduct) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {9, 10});
  const Value y = MatMul(x, RandomConstant(&g, {10, 6}, 5));
  g.MarkOutput("y", y);
  g.MarkOutput("z", y * RandomConstant(&g, {6}, 6));
  OptimizeAndCompare(g, {.scale = 10});
}

TEST(FoldAffine, LeavesVariablesAlone) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {9, 10});
  g.MarkOutput("z", MatMul(x, Parameter(&g, "w", {10, 6})) * RandomConstant(&g, {6}, 6));
  EXPECT_EQ(Count(FoldAffine(g), Op::kMul), 1);
}

// A block of a residual network: of the two convolutions that are added, the later one takes the sum and the relu.
TEST(Epilogues, ResidualSumsJoinAConvolution) {
  for (const bool projected : {false, true}) {
    Graph g;
    const Value x = g.AddInput("x", DType::kF32, {3, 9, 9, 8});
    const ConvAttrs at{.stride = {1, 1}, .pad_lo = {1, 1}, .pad_hi = {1, 1}, .dilation = {1, 1}};
    const ConvAttrs one{.stride = {1, 1}, .pad_lo = {0, 0}, .pad_hi = {0, 0}, .dilation = {1, 1}};
    const Value shortcut = projected ? Conv(x, RandomConstant(&g, {1, 1, 8, 8}, 8), one) : x;
    const Value y = BatchNormOf(&g, Conv(x, RandomConstant(&g, {3, 3, 8, 8}, 7), at)) + shortcut;
    g.MarkOutput("y", Select(LessEqual(y, Scalar(&g, 0)), Scalar(&g, 0), y));
    const Graph o = OptimizeAndCompare(g, {.tolerance = 2e-6, .scale = 100, .exact_threads = false});
    EXPECT_EQ(Count(o, Op::kConv), projected ? 2 : 1);
    EXPECT_EQ(Count(o, Op::kFused) + Count(o, Op::kAdd) + Count(o, Op::kSelect), 0) << ToText(o);
    OptimizeAndCompare(g, {.tolerance = 2e-6, .scale = 100, .exact_threads = false, .special = true});
  }
}

// A matrix product takes a sum unless an elementwise node reads it, which adds it up for nothing.
TEST(Epilogues, ResidualSumsJoinAProduct) {
  for (const bool sliced : {false, true}) {
    Graph g;
    const Value x = g.AddInput("x", DType::kF32, {7, 20}), r = g.AddInput("r", DType::kF32, {7, 30});
    const Value y = MatMul(x, Parameter(&g, "w", {20, 30})) + r;
    g.MarkOutput("y", sliced ? Slice(y, {0, 5}, {7, 11}) : Tanh(y));
    const Graph o = OptimizeAndCompare(g, {.tolerance = 2e-6, .scale = 50});
    int residuals = 0;
    for (const Node& n : o.nodes()) residuals += n.op == Op::kMatMul && n.as<MatMulAttrs>().residual;
    EXPECT_EQ(residuals, sliced ? 1 : 0) << ToText(o);
  }
}

}  // namespace
}  // namespace strata
