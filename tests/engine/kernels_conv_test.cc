#include "engine/autodiff/gradients.h"
#include "tests/engine/kernels_support.h"

namespace strata {
namespace {

struct ConvCase {
  Shape x, window;
  int64_t out, groups;
  std::vector<int64_t> stride, lo, hi, dilation;
};

const ConvCase kCases[] = {
    {{2, 9, 3}, {3}, 5, 1, {1}, {1}, {1}, {1}},
    {{2, 9, 4}, {4}, 6, 2, {2}, {0}, {3}, {1}},
    {{3, 28, 28, 1}, {3, 3}, 32, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {{2, 13, 13, 32}, {3, 3}, 64, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
    {{2, 8, 8, 16}, {3, 3}, 16, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {{2, 8, 8, 16}, {1, 1}, 32, 1, {2, 2}, {0, 0}, {0, 0}, {1, 1}},
    {{2, 8, 8, 16}, {3, 3}, 32, 1, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
    {{2, 10, 7, 6}, {3, 2}, 9, 3, {1, 2}, {2, 0}, {1, 1}, {2, 3}},
    {{1, 9, 9, 17}, {3, 3}, 17, 17, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {{1, 9, 9, 32}, {3, 3}, 64, 32, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
    {{1, 5, 6, 4, 3}, {3, 2, 2}, 4, 1, {1, 2, 1}, {1, 0, 1}, {0, 1, 0}, {1, 1, 2}},
    {{21, 14, 14, 24}, {3, 3}, 40, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {{3, 11, 18, 19}, {3, 3}, 35, 1, {1, 1}, {0, 2}, {1, 0}, {1, 1}},
    {{5, 9, 21, 48}, {3, 3}, 16, 1, {1, 1}, {2, 1}, {2, 3}, {1, 1}},
    {{1, 8, 8, 64}, {3, 3}, 64, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {{40, 4, 4, 16}, {3, 3}, 130, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {{1, 3, 3, 1}, {3, 3}, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
};

ConvAttrs AttrsOf(const ConvCase& c) {
  return {.stride = c.stride, .pad_lo = c.lo, .pad_hi = c.hi, .dilation = c.dilation, .groups = c.groups};
}

Shape WeightShape(const ConvCase& c, bool oi) {
  const int64_t in = c.x.back() / c.groups;
  Shape w;
  if (oi) w = {c.out, in};
  w.insert(w.end(), c.window.begin(), c.window.end());
  if (!oi) w.insert(w.end(), {in, c.out});
  return w;
}

TEST(ConvKernel, Bfloat16Operands) {
  if (!CpuHasBf16()) GTEST_SKIP() << "no AVX512_BF16";
  for (const ConvCase& c : kCases) {
    for (const bool oi : {false, true}) {
      ConvAttrs at = AttrsOf(c);
      at.weights_oi = oi;
      Graph g;
      const Value x = g.AddInput("x", DType::kF32, c.x), w = g.AddInput("w", DType::kF32, WeightShape(c, oi));
      const Value y = Conv(x, w, at);
      const Value dy = g.AddInput("dy", DType::kF32, y.shape());
      g.MarkOutput("y", y);
      const Value pulled[] = {y}, cotangents[] = {dy}, wrt[] = {x, w};
      for (const Value& d : Gradients(pulled, cotangents, wrt)) g.MarkOutput("gradient", d);
      ExpectMatchesReference(g, {.tolerance = 2e-6, .scale = 200, .exact_threads = false, .bf16 = true});
      if (HasFatalFailure()) return;
    }
  }
}

// Weights that never change are packed once; a single sample is cut into rows.
TEST(ConvKernel, ConstantWeightsAndSingleSamples) {
  std::vector<ConvCase> cases(std::begin(kCases), std::end(kCases));
  cases.push_back({{1, 40, 33, 16}, {3, 3}, 16, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}});
  cases.push_back({{1, 64, 33, 16}, {5, 3}, 48, 1, {2, 1}, {2, 0}, {1, 3}, {2, 1}});
  cases.push_back({{1, 50, 50, 3}, {7, 7}, 21, 1, {2, 3}, {3, 3}, {2, 4}, {1, 2}});
  cases.push_back({{1, 17, 9, 8, 12}, {3, 3, 3}, 64, 1, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}});
  cases.push_back({{1, 4096, 16}, {9}, 32, 2, {1}, {8}, {0}, {1}});
  std::mt19937 rng(1);
  for (const ConvCase& c : cases) {
    for (const bool constant : {false, true}) {
      for (const int flags : {0, 1, 2, 3}) {
        const bool residual = flags & 1, oi = flags & 2;
        SCOPED_TRACE(absl::StrCat(ShapeString(c.x), " window ", ShapeString(c.window), " constant ", constant));
        ConvAttrs at = AttrsOf(c);
        at.weights_oi = oi;
        Graph g;
        std::vector<Value> in{g.AddInput("x", DType::kF32, c.x)};
        in.push_back(constant ? Constant(&g, RandomTensor(DType::kF32, WeightShape(c, oi), &rng))
                              : g.AddInput("w", DType::kF32, WeightShape(c, oi)));
        if (residual) {
          in.push_back(g.AddInput("r", DType::kF32, Conv(in[0], in[1], at).shape()));
          at.residual = at.relu = true;
        }
        g.MarkOutput("y", Emit(&g, Op::kConv, at, in)[0]);
        ExpectMatchesReference(Prune(g), {.tolerance = 1e-6, .scale = 300});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(ConvKernel, ForwardAndGradients) {
  for (const ConvCase& c : kCases) {
    for (const bool oi : {false, true}) {
      for (const bool post : {false, true}) {
        SCOPED_TRACE(absl::StrCat(ShapeString(c.x), " window ", ShapeString(c.window), " oi ", oi, " post ", post));
        ConvAttrs at = AttrsOf(c);
        at.weights_oi = oi;
        Graph g;
        std::vector<Value> in{g.AddInput("x", DType::kF32, c.x), g.AddInput("w", DType::kF32, WeightShape(c, oi))};
        at.bias = at.relu = post;
        if (post) in.push_back(g.AddInput("b", DType::kF32, {c.out}));
        const Value y = Emit(&g, Op::kConv, at, in)[0];
        g.MarkOutput("y", y);
        if (!post) {
          const Value dy = g.AddInput("dy", DType::kF32, y.shape());
          at.result = c.x;
          const Value for_input[] = {dy, in[1]};
          g.MarkOutput("dx", Emit(&g, Op::kConvGradInput, at, for_input)[0]);
          at.result = WeightShape(c, oi);
          const Value for_weight[] = {in[0], dy};
          g.MarkOutput("dw", Emit(&g, Op::kConvGradWeight, at, for_weight)[0]);
        }
        ExpectMatchesReference(g, {.tolerance = 2e-6, .scale = 300});
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Large 3 x 3 convolutions and their gradients take Winograd's algorithm, and are as exact as direct sums of float32,
// up to 2e-6 of the largest result.
TEST(ConvKernel, WinogradIsExact) {
  const ConvCase c{{8, 14, 14, 64}, {3, 3}, 64, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}};
  ConvAttrs at = AttrsOf(c);
  at.weights_oi = true;
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, c.x), w = g.AddInput("w", DType::kF32, WeightShape(c, true));
  const Value y = Conv(x, w, at), dy = g.AddInput("dy", DType::kF32, y.shape());
  g.MarkOutput("y", y);
  const Value pulled[] = {y}, cotangents[] = {dy}, wrt[] = {x, w};
  for (const Value& d : Gradients(pulled, cotangents, wrt)) g.MarkOutput("gradient", d);
  const auto plan = MakePlan(Prune(g), {});
  ASSERT_TRUE(plan.ok());
  std::vector<std::string> names;
  for (const PlanStep& step : (*plan)->steps) names.push_back(step.kernel->name());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names,
            (std::vector<std::string>{"winograd_conv", "winograd_conv_grad_input", "winograd_conv_grad_weight"}));
  // The largest sums of 576 and of 1568 products of numbers up to 2 are about 150 and 250.
  ExpectMatchesReference(g, {.tolerance = 2e-6, .scale = 200});
}

PoolAttrs::Axis Axis(std::vector<int64_t> start, std::vector<int64_t> length, int64_t dilation = 1) {
  return {std::move(start), std::move(length), dilation};
}

TEST(PoolKernel, MaxAndSumWithGradients) {
  struct Case {
    Shape x;
    std::vector<PoolAttrs::Axis> axes;
  };
  const Case kPools[] = {
      {{2, 9, 3}, {Axis({0, 2, 4, 6}, {2, 2, 2, 3})}},
      {{3, 26, 26, 32},
       {Axis({0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24}, std::vector<int64_t>(13, 2)),
        Axis({0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24}, std::vector<int64_t>(13, 2))}},
      {{2, 5, 6, 17}, {Axis({0, 1, 2}, {3, 3, 3}), Axis({0, 0, 2}, {3, 5, 2}, 1)}},
      {{2, 7, 7, 1}, {Axis({0, 1}, {3, 3}, 2), Axis({1, 0}, {2, 3}, 3)}},
      {{1, 3, 4, 5, 2}, {Axis({0, 1}, {2, 2}), Axis({0, 2}, {2, 2}), Axis({0}, {5})}},
      {{2, 4, 4, 3}, {Axis({0}, {4}), Axis({0}, {4})}},
  };
  for (const Case& c : kPools) {
    for (const bool special : {false, true}) {
      Graph g;
      PoolAttrs at{c.axes};
      const Value x = g.AddInput("x", DType::kF32, c.x);
      const MaxPoolResult max = MaxPool(x, at);
      g.MarkOutput("max", max.y);
      g.MarkOutput("position", max.position);
      if (!special) {
        const Value sum = SumPool(x, at), dy = g.AddInput("dy", DType::kF32, sum.shape());
        g.MarkOutput("sum", sum);
        at.input = c.x;
        const Value for_max[] = {dy, max.position}, for_sum[] = {dy};
        g.MarkOutput("dmax", Emit(&g, Op::kMaxPoolGrad, at, for_max)[0]);
        at.near_ties = true;
        const Value near[] = {dy, x, max.y};
        g.MarkOutput("dnear", Emit(&g, Op::kMaxPoolGrad, at, near)[0]);
        g.MarkOutput("dsum", Emit(&g, Op::kSumPoolGrad, at, for_sum)[0]);
      }
      SCOPED_TRACE(ShapeString(c.x));
      ExpectMatchesReference(g, {.tolerance = 1e-6, .scale = 20, .special = special});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(PoolKernel, PositionsFromElsewhere) {
  Graph g;
  PoolAttrs at{{Axis({0, 2}, {2, 2}), Axis({0, 2}, {2, 2})}, {3, 4, 4, 5}};
  const Value in[] = {g.AddInput("dy", DType::kF32, {3, 2, 2, 5}), g.AddInput("position", DType::kI32, {3, 2, 2, 5})};
  g.MarkOutput("dx", Emit(&g, Op::kMaxPoolGrad, at, in)[0]);
  ExpectMatchesReference(g, {.limit = 16});
}

}  // namespace
}  // namespace strata
