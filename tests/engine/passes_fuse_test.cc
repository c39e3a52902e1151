#include "tests/engine/passes_support.h"

namespace strata {
namespace {

TEST(Fuse, AChainIsOneNode) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {33, 17}), b = g.AddInput("b", DType::kF32, {17});
  const Value y = Tanh(x * 2 + b);
  g.MarkOutput("y", y);
  g.MarkOutput("rows", ReduceSum(y * x, {1}));
  g.MarkOutput("all", SumAll(y));
  const Graph o = OptimizeAndCompare(g, {.scale = 30});
  EXPECT_EQ(CountSteps(o), 1) << ToText(o);
}

TEST(Fuse, NothingReadsASumOfItsOwnGroup) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {33, 17});
  const Value e = Exp(x), y = e / ReduceSum(e, {1}, true);
  g.MarkOutput("y", y - ReduceSum(y * x, {1}, true) * y);
  const Graph o = OptimizeAndCompare(g, {.scale = 3});
  EXPECT_EQ(CountSteps(o), 3) << ToText(o);
}

TEST(Fuse, NoCyclesThroughOtherNodes) {
  // c reads a directly and through a product: a and c may not join around it.
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {16, 16});
  const Value a = Exp(x), d = a * 2, p = MatMul(d, x), c = a + p, q = MatMul(c, p), e = c * a + q;
  g.MarkOutput("e", e + d);
  OptimizeAndCompare(g, {.tolerance = 1e-5, .scale = 3000});
}

TEST(Fuse, RowAndColumnSumsOfOneSplit) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {6, 5, 7}), y = x * x;
  g.MarkOutput("a", ReduceSum(y, {2}));
  g.MarkOutput("b", ReduceSum(y, {0, 1}));
  g.MarkOutput("c", ReduceSum(y, {1, 2}));
  g.MarkOutput("d", ReduceSum(y, {0, 2}));
  OptimizeAndCompare(g, {.scale = 30});
}

// Steps of the plan of what the passes make of a graph.
int CountPlanSteps(const Graph& optimized, Op op) {
  const auto plan = MakePlan(Prune(optimized), {});
  EXPECT_TRUE(plan.ok()) << plan.status();
  int count = 0;
  for (const PlanStep& s : (*plan)->steps) count += (*plan)->graph.nodes()[s.node].op == op ? 1 : 0;
  return count;
}

// A cell of `width` columns for each of its gates.
TEST(Fuse, ColumnsAreReadWhereTheyAre) {
  for (const int64_t width : {3, 16, 40, 64, 100, 200}) {
    for (const bool more : {false, true}) {
      Graph g;
      const Value x = g.AddInput("x", DType::kF32, {3, 7, 4 * width}), c = g.AddInput("c", DType::kF32, {width});
      std::vector<Value> gates;
      for (int64_t i = 0; i < 4; ++i) gates.push_back(Slice(x, {0, 0, i * width}, {3, 7, width}));
      const Value y = Sigmoid(gates[0]) * c + Tanh(gates[1]) * gates[2];
      g.MarkOutput("y", y);
      g.MarkOutput("rows", ReduceSum(y * gates[3], {2}));
      g.MarkOutput("columns", ReduceSum(y * gates[3], {0, 1}));
      g.MarkOutput("all", SumAll(y));
      // A product takes no such columns, nor does the caller.
      const Value w = g.AddInput("w", DType::kF32, {width, 5});
      if (more) {
        g.MarkOutput("product", MatMul(gates[0], w));
        g.MarkOutput("columns of x", gates[2]);
      }
      const Graph o = OptimizeAndCompare(g, {.tolerance = 1e-5, .scale = 5 + static_cast<double>(width)});
      EXPECT_EQ(CountPlanSteps(o, Op::kSlice), width < 16 ? 4 : more ? 2 : 0) << width << ToText(o);
      if (HasFatalFailure()) return;
    }
  }
}

// A part of a part, columns of rows that are all one, and a part of what a program overwrites.
TEST(Fuse, ColumnsOfColumns) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {9, 96}), e = Exp(x);
  const Value half = Slice(MatMul(e, g.AddInput("w", DType::kF32, {96, 96})), {0, 0}, {9, 64});
  const Value quarter = Slice(half, {0, 32}, {9, 32}),
              row = Slice(g.AddInput("r", DType::kF32, {1, 64}), {0, 32}, {1, 32});
  g.MarkOutput("y", quarter * Slice(e, {0, 64}, {9, 32}) + row);
  g.MarkOutput("z", Tanh(half) * 2);
  OptimizeAndCompare(g, {.tolerance = 1e-5, .scale = 1000});
}

TEST(Fuse, AStepOfAnMlpIsFewNodes) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {32, 20}), labels = g.AddInput("labels", DType::kI64, {32});
  const Value p[] = {Parameter(&g, "w1", {16, 20}), Parameter(&g, "b1", {16}), Parameter(&g, "w2", {10, 16}),
                     Parameter(&g, "b2", {10})};
  const Value h = Relu(MatMul(x, SwapAxes(p[0], 0, 1)) + p[1]);
  const Value loss = CrossEntropy(MatMul(h, SwapAxes(p[2], 0, 1)) + p[3], labels);
  AddAdam(&g, loss, p);
  g.MarkOutput("loss", loss);
  const Graph o = OptimizeAndCompare(g, {.tolerance = 2e-5, .scale = 1, .limit = 10});
  // Two products forward, three backward, one update a parameter; the rest is the loss.
  EXPECT_EQ(CountOps(o, Op::kMatMul), 5) << ToText(o);
  EXPECT_EQ(CountOps(o, Op::kAssign), 0) << ToText(o);
  EXPECT_LE(CountSteps(o), 18) << ToText(o);
  int biases = 0, relus = 0;
  for (const Node& n : o.nodes()) {
    if (n.op != Op::kMatMul) continue;
    biases += n.as<MatMulAttrs>().bias;
    relus += n.as<MatMulAttrs>().relu;
  }
  EXPECT_EQ(biases, 2);
  EXPECT_EQ(relus, 1);
}

TEST(Fuse, VariablesThatOthersReadAreWrittenLast) {
  // Each update reads the other's variable: neither may see the other's new value.
  Graph g;
  const Value a = Parameter(&g, "a", {5, 3}), b = Parameter(&g, "b", {5, 3}), c = Parameter(&g, "c", {3, 5});
  const Value x = g.AddInput("x", DType::kF32, {5, 3});
  g.Assign(0, a * 0.5 + SwapAxes(c, 0, 1) * x - b);
  g.Assign(1, Exp(b) - a);
  g.Assign(2, Reshape(a, {3, 5}));
  g.MarkOutput("y", SumAll(a * b));
  OptimizeAndCompare(g, {.scale = 10});
}

TEST(Fuse, UpdatesThatReadTheirOwnSums) {
  // A norm constraint: the new rows are scaled by their own norm.
  Graph g;
  const Value w = Parameter(&g, "w", {6, 40}), x = g.AddInput("x", DType::kF32, {6, 40});
  const Value next = w - x * 0.1, norm = Sqrt(ReduceSum(next * next, {1}, true));
  g.Assign(0, next * (1 / (norm + 1)));
  g.MarkOutput("commit", Less(SumAll(x * x), Scalar(&g, 1e9)));
  OptimizeAndCompare(g, {.scale = 10});
}

TEST(Fuse, AValueThatIsOutputAndAssigned) {
  Graph g;
  const Value w = Parameter(&g, "w", {50}), x = g.AddInput("x", DType::kF32, {50});
  const Value next = w * 0.5 + x;
  g.Assign(0, next);
  g.MarkOutput("next", next);
  OptimizeAndCompare(g, {.scale = 10});
}

TEST(Fuse, MasksStayExact) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {3, 700}), y = g.AddInput("y", DType::kF32, {700}),
              m = g.AddInput("m", DType::kBool, {3, 1});
  const Value keep = And(Less(x, y), Not(m));
  g.MarkOutput("keep", keep);
  g.MarkOutput("z", Select(keep, x, Cast(m, DType::kF32)) + Cast(Or(keep, m), DType::kF32));
  g.MarkOutput("nonzero", Cast(Max(x, 0), DType::kBool));
  const Graph o = OptimizeAndCompare(g, {.special = true});
  EXPECT_EQ(CountSteps(o), 4) << ToText(o);  // two ops on m alone; a group of x and one of x, y and m
}

// The product is never stored: its rows are summed where it is made.
TEST(SimplifySums, ChannelsFirst) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {5, 3, 9, 10}), y = g.AddInput("y", DType::kF32, {5, 3, 9, 10});
  g.MarkOutput("sum", ReduceSum(x * y, {0, 2, 3}));
  const Graph o = OptimizeAndCompare(g, {.scale = 10});
  EXPECT_EQ(CountSteps(o), 2) << ToText(o);
  for (const Node& n : o.nodes()) {
    if (n.op == Op::kFused) {
      EXPECT_EQ(NumElements(o.info(n.outputs[0]).shape), 15) << ToText(o);
    }
  }
}

// What is the same along the summed axes is multiplied once; equal sums that remain are one.
TEST(SimplifySums, FactorsLeave) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {5, 3, 4, 90}), y = g.AddInput("y", DType::kF32, {5, 3, 4, 90});
  const Value scale = g.AddInput("scale", DType::kF32, {4, 1}),
              spread = g.AddInput("spread", DType::kF32, {5, 3, 1, 1});
  g.MarkOutput("by_scale", ReduceSum(x * y * spread, {0, 1, 3}));
  g.MarkOutput("by_group", -ReduceSum(x * scale * y, {2, 3}));
  g.MarkOutput("negated", ReduceSum(-(spread * x), {3}));
  const Graph o = OptimizeAndCompare(g, {.scale = 20});
  int large = 0;
  for (const Node& n : o.nodes()) {
    for (const ValueId v : n.inputs) large += NumElements(o.info(v).shape) > 1000;
  }
  EXPECT_EQ(large, 2) << ToText(o);  // one pass over x and y
}

}  // namespace
}  // namespace strata
