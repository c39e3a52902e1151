#include "tests/engine/kernels_support.h"

namespace strata {
namespace {

struct Case {
  Shape batch;
  int64_t m, k, n;
};

// Bits of `flags`: a is transposed, b is transposed, a bias is added, relu follows.
Graph Product(const Case& c, int flags) {
  const bool ta = flags & 1, tb = flags & 2, bias = flags & 4, relu = flags & 8;
  Shape a = c.batch, b = c.batch;
  for (int64_t d : {ta ? c.k : c.m, ta ? c.m : c.k}) a.push_back(d);
  for (int64_t d : {tb ? c.n : c.k, tb ? c.k : c.n}) b.push_back(d);
  Graph g;
  std::vector<Value> in{g.AddInput("a", DType::kF32, a), g.AddInput("b", DType::kF32, b)};
  if (bias) in.push_back(g.AddInput("bias", DType::kF32, {c.n}));
  g.MarkOutput("y", Emit(&g, Op::kMatMul, MatMulAttrs{ta, tb, bias, relu}, in)[0]);
  return g;
}

TEST(MatMulKernel, ShapesAndTransposes) {
  const Case kCases[] = {{{}, 1, 1, 1},        {{}, 10, 2, 4},     {{}, 10, 4, 8},    {{}, 3, 17, 33},
                         {{}, 1, 784, 256},    {{}, 2, 100, 1},    {{}, 256, 128, 1}, {{}, 1, 33, 100},
                         {{}, 7, 100, 17},     {{}, 64, 784, 33},  {{}, 100, 1, 50},  {{}, 4, 0, 3},
                         {{2, 3}, 5, 7, 9},    {{4}, 64, 33, 64},  {{3}, 1, 100, 17}, {{}, 1, 1000, 1000},
                         {{2}, 100, 100, 100}, {{5}, 6, 3, 1},     {{}, 33, 17, 100}, {{}, 500, 301, 129},
                         {{}, 70, 1000, 300},  {{9}, 130, 70, 90}, {{}, 2, 9, 20},    {{}, 1, 128, 512}};
  for (const Case& c : kCases) {
    for (int flags = 0; flags < 16; ++flags) {
      const Graph g = Product(c, flags);
      // Large products are oneDNN's, whose last bits depend on the cut.
      const bool exact = c.m * c.k * c.n < (1 << 21);
      ExpectMatchesReference(g, {.tolerance = 1e-6, .scale = 5 + static_cast<double>(c.k) / 5, .exact_threads = exact});
      if (HasFatalFailure()) return;
    }
  }
}

// How many steps of a plan compute in bfloat16.
int CountBf16(const Graph& g) {
  const auto plan = MakePlan(Prune(g), {.bf16 = true});
  EXPECT_TRUE(plan.ok());
  int n = 0;
  for (const PlanStep& s : (*plan)->steps) n += std::string(s.kernel->name()).find("bf16") != std::string::npos;
  return n;
}

TEST(MatMulKernel, Bfloat16Operands) {
  if (!CpuHasBf16()) GTEST_SKIP() << "no AVX512_BF16";
  for (const Case& c : {Case{{}, 64, 784, 256}, Case{{}, 130, 301, 97}, Case{{3}, 120, 100, 110}}) {
    for (int flags = 0; flags < 16; ++flags) {
      const Graph g = Product(c, flags);
      EXPECT_EQ(CountBf16(g), 1);
      const double scale = 5 + static_cast<double>(c.k) / 5;
      ExpectMatchesReference(g, {.tolerance = 1e-6, .scale = scale, .exact_threads = false, .bf16 = true});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(MatMulKernel, ConstantOperandsArePackedOnce) {
  std::mt19937 rng(1);
  const struct {
    int64_t m, k, n;
  } kCases[] = {{4, 20, 30}, {1, 700, 300}, {64, 784, 33}, {100, 256, 1}, {130, 300, 400}};
  for (const auto& c : kCases) {
    for (const bool tb : {false, true}) {
      Graph g;
      const Value a = g.AddInput("a", DType::kF32, {c.m, c.k});
      const Value b = Constant(&g, RandomTensor(DType::kF32, tb ? Shape{c.n, c.k} : Shape{c.k, c.n}, &rng));
      g.MarkOutput("y", MatMul(a, b, false, tb));
      ExpectMatchesReference(g, {.tolerance = 1e-6, .scale = static_cast<double>(c.k), .exact_threads = false});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(MatMulKernel, ReluKeepsNaN) {
  for (const int64_t n : {int64_t{1}, int64_t{9}, int64_t{200}}) {
    Graph g;
    const Value in[] = {g.AddInput("a", DType::kF32, {40, 100}), g.AddInput("b", DType::kF32, {100, n})};
    const Value y = Emit(&g, Op::kMatMul, MatMulAttrs{.relu = true}, in)[0];
    g.MarkOutput("finite", Unary(Op::kIsFinite, y));
    g.MarkOutput("y", y);
    ExpectMatchesReference(g, {.tolerance = 1e-6, .scale = 30, .special = true});
  }
}

}  // namespace
}  // namespace strata
