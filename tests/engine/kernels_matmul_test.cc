#include "engine/kernels/panels.h"
#include "tests/engine/kernels_support.h"

namespace strata {
namespace {

struct Case {
  Shape batch;
  int64_t m, k, n;
};

// What is added to a product.
enum class Addend { kNone, kBias, kResidual };
constexpr Addend kAddends[] = {Addend::kNone, Addend::kBias, Addend::kResidual};

// Bits of `flags`: a is transposed, b is transposed, relu follows.
Graph Product(const Case& c, int flags, Addend addend) {
  const bool ta = flags & 1, tb = flags & 2, relu = flags & 4;
  Shape a = c.batch, b = c.batch;
  for (int64_t d : {ta ? c.k : c.m, ta ? c.m : c.k}) a.push_back(d);
  for (int64_t d : {tb ? c.n : c.k, tb ? c.k : c.n}) b.push_back(d);
  Graph g;
  std::vector<Value> in{g.AddInput("a", DType::kF32, a), g.AddInput("b", DType::kF32, b)};
  MatMulAttrs attrs{.transpose_a = ta, .transpose_b = tb, .relu = relu};
  if (addend == Addend::kBias) {
    attrs.bias = true;
    in.push_back(g.AddInput("bias", DType::kF32, {c.n}));
  } else if (addend == Addend::kResidual) {
    attrs.residual = true;
    Shape shape = c.batch;
    shape.insert(shape.end(), {c.m, c.n});
    in.push_back(g.AddInput("residual", DType::kF32, shape));
  }
  g.MarkOutput("y", Emit(&g, Op::kMatMul, attrs, in)[0]);
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
    for (int i = 0; i < 24; ++i) {
      const Graph g = Product(c, i % 8, kAddends[i / 8]);
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
    for (int i = 0; i < 24; ++i) {
      const Graph g = Product(c, i % 8, kAddends[i / 8]);
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

// The panels themselves, on every machine: by ranges of columns, over every stride.
TEST(MatMulKernel, Panels) {
  const PanelOps ops = GetPanelOps();
  std::mt19937 rng(3);
  for (const Case& c : {Case{{}, 1, 3, 5}, Case{{}, 6, 16, 16}, Case{{}, 13, 1, 17}, Case{{}, 97, 257, 100},
                        Case{{}, 200, 300, 31}, Case{{}, 5, 700, 64}}) {
    const Tensor a = RandomTensor(DType::kF32, {c.m, c.k}, &rng), b = RandomTensor(DType::kF32, {c.k, c.n}, &rng),
                 addend = RandomTensor(DType::kF32, {c.m, c.n}, &rng);
    for (int flags = 0; flags < 8; ++flags) {
      const bool ta = flags & 1, tb = flags & 2, relu = flags & 4;
      // The same numbers, read as a transposed operand's.
      const auto a_at = [&](int64_t i, int64_t p) { return a.At(ta ? p * c.m + i : i * c.k + p); };
      const auto b_at = [&](int64_t p, int64_t j) { return b.At(tb ? j * c.k + p : p * c.n + j); };
      std::vector<float> panels(static_cast<size_t>(PanelsSize(c.k, c.n)), NAN);
      const PanelSource source{b.data<float>(), tb ? 1 : c.n, tb ? c.k : 1, c.k, c.n};
      for (int64_t from = 0; from < c.n; from += 2 * kPanel) {
        ops.pack(source, from, std::min(c.n, from + 2 * kPanel), panels.data());
      }
      std::vector<float> rows(static_cast<size_t>(PanelRowsSize(c.m, c.k)));
      for (const Addend kind : kAddends) {
        // A column more, which stays as it is.
        const int64_t y_row = c.n + 1;
        std::vector<float> y(static_cast<size_t>(c.m * y_row), -7);
        for (int64_t from = 0; from < c.n; from += 3 * kPanel) {
          ops.multiply({.a = a.data<float>(),
                        .panels = panels.data() + from * c.k,
                        .start = kind == Addend::kNone ? nullptr : addend.data<float>() + from,
                        .y = y.data() + from,
                        .rows = rows.data(),
                        .m = c.m,
                        .k = c.k,
                        .n = std::min(3 * kPanel, c.n - from),
                        .a_row = ta ? 1 : c.k,
                        .a_column = ta ? c.m : 1,
                        .start_row = kind == Addend::kResidual ? c.n : 0,
                        .y_row = y_row,
                        .relu = relu});
        }
        for (int64_t i = 0; i < c.m; ++i) {
          for (int64_t j = 0; j < c.n; ++j) {
            double want = kind == Addend::kNone ? 0 : addend.At(kind == Addend::kBias ? j : i * c.n + j);
            for (int64_t p = 0; p < c.k; ++p) want += a_at(i, p) * b_at(p, j);
            if (relu) want = std::max(0.0, want);
            ASSERT_NEAR(y[static_cast<size_t>(i * y_row + j)], want, 1e-6 * static_cast<double>(5 + c.k))
                << c.m << "x" << c.k << "x" << c.n << ", flags " << flags << ", element " << i << ", " << j;
          }
          ASSERT_EQ(y[static_cast<size_t>(i * y_row + c.n)], -7);
        }
      }
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
