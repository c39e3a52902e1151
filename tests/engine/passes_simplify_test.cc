#include "tests/engine/passes_support.h"

namespace strata {
namespace {

Graph Simplified(const Graph& g) {
  EXPECT_TRUE(g.ok()) << g.status();
  Graph s = Simplify(g);
  EXPECT_TRUE(Verify(s).ok()) << Verify(s) << ToText(s);
  ExpectMatchesReference(s, {.allow_reference = true}, 1, &g);
  return s;
}

struct Row {
  const char* name;
  std::function<Value(Graph*, Value)> build;  // from x: f32[3, 4]
  int steps;                                  // left
};

TEST(Simplify, Identities) {
  const Row kRows[] = {
      {"times one", [](Graph*, Value x) { return x * 1; }, 0},
      {"plus zero", [](Graph*, Value x) { return 0 + x + 0; }, 0},
      {"double negation", [](Graph*, Value x) { return -(-x); }, 0},
      {"minus a negative", [](Graph*, Value x) { return Exp(x) - (-x); }, 2},
      {"factors join", [](Graph*, Value x) { return x * 3 / 2 * 5; }, 1},
      {"a factor joins a smaller one", [](Graph*, Value x) { return x * (ReduceSum(x, {1}, true) * 0.25) * 2; }, 3},
      {"and stays if that may overflow", [](Graph*, Value x) { return x * (ReduceSum(x, {1}, true) * 0.75) * 2; }, 4},
      {"constants fold", [](Graph* g, Value x) { return x + (Scalar(g, 2) * Scalar(g, 3) + 1); }, 1},
      {"square", [](Graph*, Value x) { return Pow(x, Like(x, 2)); }, 1},
      {"common subexpressions", [](Graph*, Value x) { return Exp(x + 1) * Exp(x + 1); }, 3},
      {"reshapes join",
       [](Graph*, Value x) {
         return Exp(Reshape(Reshape(x, {12}), {3, 4}));
       },
       1},
      {"transposes cancel", [](Graph*, Value x) { return Exp(SwapAxes(SwapAxes(x, 0, 1), 0, 1)); }, 1},
      {"a column is a row", [](Graph*, Value x) { return Exp(SwapAxes(SliceAxis(x, 0, 0, 1), 0, 1)); }, 2},
      {"broadcast scalars sink",
       [](Graph* g, Value x) {
         return x * Full(g, 2, {3, 4});
       },
       1},
      {"zero times x stays", [](Graph*, Value x) { return x * 0; }, 1},
      {"the sum of equal terms",
       [](Graph*, Value x) {
         return ReduceSum(Broadcast(SliceAxis(x, 0, 0, 1), {3, 4}), {0});
       },
       2},
      {"mean gradient", [](Graph*, Value x) { return Gradients(MeanAll(x * x), std::span(&x, 1))[0]; }, 1},
      {"iota folds",
       [](Graph* g, Value x) {
         return x * Cast(Iota(g, {3, 4}, 1, DType::kI32), DType::kF32);
       },
       1},
      {"dead code", [](Graph*, Value x) { return Exp(x), Log(x); }, 1},
      {"select of equals", [](Graph*, Value x) { return Select(Less(x, Like(x, 0)), x, x); }, 0},
      {"product of transposes",
       [](Graph*, Value x) { return MatMul(SwapAxes(x, 0, 1), SwapAxes(SwapAxes(x, 0, 1), 0, 1)); }, 1},
      {"gradients of slices side by side",
       [](Graph*, Value x) {
         const Value a = SliceAxis(x, 1, 0, 1), b = SliceAxis(x, 1, 1, 2), d = SliceAxis(x, 1, 3, 1);
         return Pad(Exp(d), {0, 3}, {0, 0}) + Pad(Exp(b), {0, 1}, {0, 1}) + Pad(Exp(a), {0, 0}, {0, 3});
       },
       7},
      {"transpose of a product", [](Graph*, Value x) { return SwapAxes(MatMul(x, x, false, true), 0, 1); }, 1},
  };
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    Graph g;
    g.MarkOutput("y", row.build(&g, g.AddInput("x", DType::kF32, {3, 4})));
    const Graph s = Simplified(g);
    EXPECT_EQ(CountSteps(s), row.steps) << ToText(s);
  }
}

TEST(Simplify, KeepsAProductThatIsReadBothWays) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {3, 4}), y = MatMul(x, x, false, true);
  g.MarkOutput("a", Exp(y));
  g.MarkOutput("b", SwapAxes(y, 0, 1));
  EXPECT_EQ(CountOps(Simplified(g), Op::kMatMul), 1);
}

// The same behind the reshape that makes it a convolution's weights: its other reader keeps the product.
TEST(Simplify, KeepsAProductThatIsReadAsWeightsAndElsewhere) {
  for (const bool elsewhere : {false, true}) {
    Graph g;
    const Value x = g.AddInput("x", DType::kF32, {7, 3}), y = g.AddInput("y", DType::kF32, {7, 4});
    const Value product = MatMul(x, y, true, false);  // [C, O]
    g.MarkOutput("weights", Transpose(Reshape(product, {1, 1, 3, 4}), {3, 2, 0, 1}));
    if (elsewhere) g.MarkOutput("product", Exp(product));
    const Graph s = Simplified(g);
    EXPECT_EQ(CountOps(s, Op::kMatMul), 1) << ToText(s);
    EXPECT_EQ(CountOps(s, Op::kTranspose), elsewhere ? 1 : 0) << ToText(s);
  }
}

TEST(Simplify, OutputFirstConvolutionWeightsNeedNoTranspose) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {2, 5, 5, 3}), w = Parameter(&g, "w", {4, 3, 3, 2});
  const ConvAttrs at{.stride = {1, 1}, .pad_lo = {1, 1}, .pad_hi = {0, 0}, .dilation = {1, 1}};
  const Value y = Conv(x, Transpose(w, {2, 3, 1, 0}), at);
  const Value wrt[] = {x, w};
  const std::vector<Value> grads = Gradients(SumAll(y * y), wrt);
  g.MarkOutput("y", y);
  g.MarkOutput("dx", grads[0]);
  g.MarkOutput("dw", grads[1]);
  EXPECT_EQ(CountOps(Simplify(g), Op::kTranspose), 0) << ToText(Simplify(g));
}

// The gradients of a convolution of single cells are products, whichever axis of the weights comes first.
TEST(Simplify, GradientsOfSingleCellsAreProducts) {
  for (const bool output_first : {false, true}) {
    Graph g;
    const Value x = g.AddInput("x", DType::kF32, {2, 5, 4, 3});
    const Value w = Parameter(&g, "w", output_first ? Shape{6, 3, 1, 1} : Shape{1, 1, 3, 6});
    const ConvAttrs at{.stride = {1, 1}, .pad_lo = {0, 0}, .pad_hi = {0, 0}, .dilation = {2, 1}};
    const Value y = Conv(x, output_first ? Transpose(w, {2, 3, 1, 0}) : w, at);
    const Value wrt[] = {x, w};
    const std::vector<Value> grads = Gradients(SumAll(y * y * 0.5), wrt);
    g.MarkOutput("dx", grads[0]);
    g.MarkOutput("dw", grads[1]);
    const Graph o = Simplify(g);
    EXPECT_EQ(CountOps(o, Op::kMatMul), 2) << ToText(o);
    EXPECT_EQ(CountOps(o, Op::kConvGradInput) + CountOps(o, Op::kConvGradWeight), 0) << ToText(o);
    EXPECT_EQ(CountOps(o, Op::kTranspose), 0) << ToText(o);
    OptimizeAndCompare(g, {});
  }
}

// conv's relu, then pooling: the mask and the sum for the bias work on pooled cells.
TEST(Simplify, ReluGradientMovesBeforePooling) {
  for (const bool overlapping : {false, true}) {
    Graph g;
    const Value z = g.AddInput("z", DType::kF32, {2, 6, 7, 3});
    const Value y = Select(LessEqual(z, Scalar(&g, 0)), Scalar(&g, 0), z);
    const PoolAttrs::Axis axis =
        overlapping ? PoolAttrs::Axis{{0, 1, 2}, {3, 3, 3}} : PoolAttrs::Axis{{0, 2, 4}, {2, 2, 2}};
    const Value pooled = MaxPool(y, {{axis, axis}}).y;
    const Value wrt[] = {z};
    const Value dz = Gradients(SumAll(pooled * pooled), wrt)[0];
    g.MarkOutput("dz", dz);
    g.MarkOutput("db", ReduceSum(dz, {0, 1, 2}));
    const Graph o = Simplify(g);
    int large = 0;  // selects over all cells: the forward relu alone
    for (const Node& n : o.nodes()) large += n.op == Op::kSelect && o.info(n.outputs[0]).shape == z.shape();
    EXPECT_EQ(large, 1) << ToText(o);
    OptimizeAndCompare(g, {});
    OptimizeAndCompare(g, {.special = true});
  }
}

TEST(Simplify, GradientsOfSpecialValues) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {3, 40}), y = g.AddInput("y", DType::kF32, {40});
  g.MarkOutput("z", Max(x, y) * 1 + (x - y) * 0);
  OptimizeAndCompare(g, {.special = true});
}

TEST(Simplify, IdsMoveInPlaceOfTheRowsTheyName) {
  Graph g;
  const Value table = g.AddInput("table", DType::kF32, {50, 3, 4}), ids = g.AddInput("ids", DType::kI64, {5, 6});
  const Value rows = Gather(table, ids);
  g.MarkOutput("by column", Transpose(rows, {1, 0, 2, 3}) * 2);
  g.MarkOutput("mixed", Transpose(rows, {1, 0, 3, 2}) * 2);
  const Graph o = OptimizeAndCompare(g, {.limit = 60});
  int ids_moved = 0, rows_moved = 0;
  for (const Node& n : o.nodes()) {
    if (n.op == Op::kTranspose) ++(o.info(n.inputs[0]).dtype == DType::kI64 ? ids_moved : rows_moved);
  }
  EXPECT_EQ(ids_moved, 1) << ToText(o);
  EXPECT_EQ(rows_moved, 1) << ToText(o);
}

}  // namespace
}  // namespace strata
