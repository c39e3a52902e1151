#include "tests/engine/passes_support.h"

namespace strata {
namespace {

Value ChannelsLast(Value x) { return Transpose(x, {0, 2, 3, 1}); }
Value ChannelsFirst(Value x) { return Transpose(x, {0, 3, 1, 2}); }

Value Conv2d(Value x, Value w, Value b) {
  const ConvAttrs at{.stride = {1, 1}, .pad_lo = {1, 1}, .pad_hi = {1, 1}, .dilation = {1, 1}};
  const Value y = ChannelsFirst(Conv(ChannelsLast(x), Transpose(w, {2, 3, 1, 0}), at));
  return y + Reshape(b, {b.dim(0), 1, 1});
}

Value Pool2(Value x) {
  const int64_t n = x.dim(2) / 2;
  PoolAttrs::Axis axis;
  for (int64_t i = 0; i < n; ++i) {
    axis.start.push_back(2 * i);
    axis.length.push_back(2);
  }
  return ChannelsFirst(MaxPool(ChannelsLast(x), {{axis, axis}}).y);
}

Value BatchNorm(Value x, Value scale, Value shift) {
  const Value mean = ReduceMean(x, {0, 2, 3}, true), centered = x - mean;
  const Value variance = ReduceMean(centered * centered, {0, 2, 3}, true);
  const int64_t c = x.dim(1);
  return centered / Sqrt(variance + 1e-5) * Reshape(scale, {c, 1, 1}) + Reshape(shift, {c, 1, 1});
}

TEST(ChooseLayouts, AChannelsFirstNetTransposesAtItsEndsOnly) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {4, 3, 8, 8}), labels = g.AddInput("labels", DType::kI64, {4});
  const Value p[] = {Parameter(&g, "w1", {8, 3, 3, 3}),
                     Parameter(&g, "b1", {8}),
                     Parameter(&g, "s1", {8}),
                     Parameter(&g, "t1", {8}),
                     Parameter(&g, "w2", {16, 8, 3, 3}),
                     Parameter(&g, "b2", {16}),
                     Parameter(&g, "w3", {16, 16, 3, 3}),
                     Parameter(&g, "b3", {16}),
                     Parameter(&g, "w4", {10, 64}),
                     Parameter(&g, "b4", {10})};
  Value h = Relu(BatchNorm(Conv2d(x, p[0], p[1]), p[2], p[3]));
  h = Pool2(Relu(Conv2d(h, p[4], p[5])));
  h = Pool2(Relu(Conv2d(h, p[6], p[7]) + h));
  const Value logits = MatMul(Reshape(h, {4, 64}), SwapAxes(p[8], 0, 1)) + p[9];
  const Value loss = CrossEntropy(logits, labels);
  AddAdam(&g, loss, p);
  g.MarkOutput("loss", loss);
  const Graph o = OptimizeAndCompare(g, {.tolerance = 3e-5, .scale = 3, .exact_threads = false, .limit = 10});
  // The input, the flattened features and their gradient.
  EXPECT_LE(CountOps(o, Op::kTranspose), 3) << ToText(o);
  for (const Node& n : o.nodes()) {
    if (n.op != Op::kConv) continue;
    EXPECT_TRUE(n.as<ConvAttrs>().weights_oi && n.as<ConvAttrs>().bias) << ToText(o);
  }
}

TEST(ChooseLayouts, SinksThroughMovementAndReductions) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {2, 3, 4, 5}), y = g.AddInput("y", DType::kF32, {2, 3, 4, 5});
  const Value a = ChannelsFirst(x), b = ChannelsFirst(y);
  g.MarkOutput("pad", Exp(ChannelsLast(Pad(a, {0, 1, 0, 2}, {1, 0, 0, 0}, 3))));
  g.MarkOutput("slice", Exp(ChannelsLast(Slice(a, {0, 1, 1, 2}, {1, 3, 2, 2}))));
  g.MarkOutput("reverse", Exp(ChannelsLast(Reverse(a, {1, 3}))));
  const Value both[] = {a, b};
  g.MarkOutput("concat", Exp(ChannelsLast(Concat(both, 1))));
  g.MarkOutput("sum", ReduceSum(a * b, {0, 2, 3}));
  g.MarkOutput("max", ReduceMax(a + Scalar(&g, 2), {1, 3}));
  g.MarkOutput("select", ChannelsLast(Select(Less(a, b), a, Scalar(&g, 0))));
  const Graph o = OptimizeAndCompare(g, {.scale = 30});
  EXPECT_EQ(CountOps(o, Op::kTranspose), 0) << ToText(o);
}

TEST(ChooseLayouts, ReductionsKeepTheOrderOfTheirResult) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {2, 3, 4, 5});
  for (const std::vector<int64_t>& axes : {std::vector<int64_t>{0}, {1}, {2}, {3}, {1, 2}, {0, 3}}) {
    g.MarkOutput("y", ReduceSum(Transpose(x, {3, 1, 0, 2}), axes));
  }
  OptimizeAndCompare(g, {.scale = 30});
}

}  // namespace
}  // namespace strata
