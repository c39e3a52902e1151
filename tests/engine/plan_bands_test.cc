// Steps that run together, some rows at a time.
#include <functional>

#include "tests/engine/passes_support.h"

namespace strata {
namespace {

// The numbers of steps in the bands of the plan of what the passes make of a graph.
std::vector<size_t> BandsOf(const Graph& optimized, const PlanOptions& options = {.cache_bytes = kTinyCache}) {
  const auto plan = MakePlan(Prune(optimized), options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  std::vector<size_t> counts;
  for (const Band& band : (*plan)->bands) counts.push_back(band.count);
  return counts;
}

Value Normalized(Value x) {
  const std::vector<int64_t> axes = {x.rank() - 1};
  const double n = static_cast<double>(x.dim(-1));
  const Value centered = x - ReduceSum(x, axes, true) / n;
  return centered / Sqrt(ReduceSum(Square(centered), axes, true) / n + 1e-5);
}

TEST(Bands, ANormalisationAndItsGradientAreOne) {
  for (const Shape& shape : {Shape{37, 24}, Shape{9, 5, 33}, Shape{1, 6, 7, 130}, Shape{5, 600}}) {
    Graph g;
    const Value x = g.AddInput("x", DType::kF32, shape), w = g.AddInput("w", DType::kF32, {shape.back()});
    const Value dy = g.AddInput("dy", DType::kF32, shape), y = Normalized(x) * w;
    g.MarkOutput("y", y);
    const Value ys[] = {y}, dys[] = {dy}, wrt[] = {x, w};
    for (const Value& gradient : Gradients(ys, dys, wrt)) g.MarkOutput("gradient", gradient);
    const Graph o = OptimizeAndCompare(g, {.tolerance = 2e-5, .scale = 5});
    EXPECT_EQ(BandsOf(o).size(), 1u) << ToText(o);
    if (HasFatalFailure()) return;
  }
}

TEST(Bands, OnlyWhatDoesNotStayInCacheByItself) {
  for (const int64_t rows : {64, 1024}) {
    Graph g;
    const Value x = g.AddInput("x", DType::kF32, {rows, 512});
    g.MarkOutput("y", Normalized(x));
    const auto optimized = Optimize(Prune(g));
    ASSERT_TRUE(optimized.ok()) << optimized.status();
    EXPECT_EQ(BandsOf(*optimized, {}).size(), rows < 100 ? 0u : 1u) << rows;
  }
}

// What is summed over all rows is complete after the last part only.
TEST(Bands, ASumOfColumnsEndsOne) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {32, 48});
  const Value a = Normalized(x), mean = ReduceSum(a * x, {0}, true) / 32.0;
  const Value b = Normalized(x - mean), all = SumAll(b * x);
  g.MarkOutput("b", b + all);
  const Graph o = OptimizeAndCompare(g, {.tolerance = 1e-5, .scale = 50});
  EXPECT_GE(BandsOf(o).size(), 2u) << ToText(o);

  // As many columns as rows: the sum could pass for one of rows.
  Graph square;
  const Value z = square.AddInput("x", DType::kF32, {8, 8});
  square.MarkOutput("z", z * Reshape(ReduceSum(z, {0}), {8, 1}) + ReduceSum(z * z, {1}, true));
  OptimizeAndCompare(square, {.tolerance = 1e-5, .scale = 50});
}

// Rows that are read crosswise: [8, 8] broadcast along the first axis and along the second.
TEST(Bands, OtherRowsEndOne) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {8, 8, 8});
  const Value s = ReduceSum(x, {2});  // [8, 8]
  const Value own = Reshape(s, {8, 8, 1}), crosswise = Reshape(s, {1, 8, 8});
  const Value a = x * own, b = a * crosswise;
  g.MarkOutput("a", ReduceSum(a, {1, 2}));
  g.MarkOutput("b", b);
  g.MarkOutput("t", ReduceSum(b * own, {2}));
  OptimizeAndCompare(g, {.tolerance = 1e-5, .scale = 500});
}

// A value of which one step reads its own rows and another reads all is not overwritten by the first.
TEST(Bands, WhatOthersReadWholeStays) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {16, 16}), w = g.AddInput("w", DType::kF32, {16, 16});
  const Value p = MatMul(x, w);  // memory that may be reused
  const Value y = Reshape(x, {16, 16, 1}) * Reshape(p, {1, 16, 16});
  const Value r = ReduceSum(y * y, {1, 2}), z = Exp(p / (Reshape(r, {16, 1}) + 1.0));
  g.MarkOutput("z", MatMul(z * ReduceSum(z, {1}, true), w));
  OptimizeAndCompare(g, {.tolerance = 1e-5, .scale = 50});
}

// Sums of products, of squares of differences, and of a factor beside them, by rows and by columns; rows that are read
// in tiles, that are one block and that are several.
TEST(Bands, SumsOfProductsAndSquares) {
  for (const Shape& shape : {Shape{7, 3}, Shape{41, 20}, Shape{6, 133}, Shape{3, 517}, Shape{2, 1031}}) {
    Graph g;
    const Value x = g.AddInput("x", DType::kF32, shape), y = g.AddInput("y", DType::kF32, shape);
    const Value row = g.AddInput("row", DType::kF32, {shape[0], 1}), one = g.AddInput("one", DType::kF32, {});
    const Value column = g.AddInput("column", DType::kF32, {shape[1]});
    int next = 0;
    for (const Value& v : {x * y, x, Square(x - y), Square(x - row), Square(x - column), Square(row - x),
                           Square(x - one), (x + y) * x, x + y}) {
      g.MarkOutput(absl::StrCat("rows", next), ReduceSum(v, {1}));
      g.MarkOutput(absl::StrCat("columns", next), ReduceSum(v, {0}));
      g.MarkOutput(absl::StrCat("all", next++), SumAll(v));
    }
    OptimizeAndCompare(g, {.tolerance = 1e-5, .scale = 2.0 * static_cast<double>(shape[0] + shape[1])});
    if (HasFatalFailure()) return;
    // Each by itself: the sum is then all that reads the term.
    const std::function<Value(Value, Value, Value, Value)> kTerms[] = {
        [](Value a, Value b, Value, Value) { return a * b; },
        [](Value a, Value b, Value, Value) { return Square(a - b); },
        [](Value a, Value, Value r, Value) { return Square(a - r); },
        [](Value a, Value, Value r, Value) { return Square(r - a); },
        [](Value a, Value, Value, Value one) { return Square(a - one); },
        [](Value a, Value b, Value, Value) { return (a + b) * a; }};
    for (const auto& term : kTerms) {
      for (const std::vector<int64_t>& axes : {std::vector<int64_t>{0}, std::vector<int64_t>{1}}) {
        Graph alone;
        const Value a = alone.AddInput("x", DType::kF32, shape), b = alone.AddInput("y", DType::kF32, shape);
        const Value r = alone.AddInput("row", DType::kF32, {shape[0], 1}), s = alone.AddInput("one", DType::kF32, {});
        alone.MarkOutput("term", ReduceSum(term(a, b, r, s), axes));
        alone.MarkOutput("factor", ReduceSum(a, axes));
        OptimizeAndCompare(alone, {.tolerance = 1e-5, .scale = 2.0 * static_cast<double>(shape[0] + shape[1])});
        if (HasFatalFailure()) return;
      }
    }
  }
}

// A sum takes a variable's old value, whatever is written in the same pass.
TEST(Bands, SumsReadWhatIsReplaced) {
  for (int kind = 0; kind < 4; ++kind) {
    Graph g;
    const Value x = g.AddInput("x", DType::kF32, {12, 20});
    const Value v = Parameter(&g, "v", {12, 20});
    const Value w = Parameter(&g, "w", kind < 2 ? Shape{} : kind == 2 ? Shape{12, 1} : Shape{20});
    const Value e = Exp(x), next = v - e * w;
    const Value sum = kind == 0   ? SumAll(v * e)
                      : kind == 1 ? SumAll(Square(v - e))
                      : kind == 2 ? ReduceSum(v * e, {1}, true)
                                  : ReduceSum(Square(v - e), {0});
    g.Assign(g.FindVariable("v"), next);
    g.Assign(g.FindVariable("w"), sum);
    OptimizeAndCompare(g, {.tolerance = 1e-5, .scale = 500});
    if (HasFatalFailure()) return;
  }
}

// What cannot be cut ends a band and does not undo it.
TEST(Bands, AStepThatCannotBeCutIsNotInOne) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {16, 24}), i = g.AddInput("i", DType::kI32, {16, 1});
  g.MarkOutput("y", Normalized(x));
  g.MarkOutput("z", i + i * i);
  const Graph o = OptimizeAndCompare(g, {.tolerance = 2e-5, .scale = 5});
  EXPECT_EQ(BandsOf(o).size(), 1u) << ToText(o);
}

}  // namespace
}  // namespace strata
