#include "tests/engine/passes_support.h"

namespace strata {
namespace {

enum class Reads { kAll, kLast, kLastTransposed };

// h' = tanh(x W + h U + b), a loss of its states and all gradients.
Graph Recurrence(int64_t t, int64_t n, int64_t d, int64_t h, bool reverse, Reads reads = Reads::kAll) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {t, n, d});
  const Value w = Parameter(&g, "w", {d, h}), u = Parameter(&g, "u", {h, h}), b = Parameter(&g, "b", {h});
  Graph body;
  const Value state = body.AddInput("h", DType::kF32, {n, h}), xt = body.AddInput("x", DType::kF32, {n, d});
  const Value wt = body.AddInput("w", DType::kF32, {d, h}), ut = body.AddInput("u", DType::kF32, {h, h});
  const Value bt = body.AddInput("b", DType::kF32, {h});
  const Value next = Tanh(MatMul(xt, wt) + MatMul(state, ut) * 0.3 + bt);
  body.MarkOutput("h", next);
  body.MarkOutput("y", next);
  const Value carry[] = {Full(&g, 0, {n, h})}, sequences[] = {x}, constants[] = {w, u, b};
  const ScanResult r = Scan(&g, std::move(body), carry, sequences, constants, reverse, t);
  const int64_t end = reverse ? 0 : t - 1;
  const Value states = r.sequences[0], read = reads == Reads::kAll ? states
                                              : reads == Reads::kLast
                                                  ? Slice(states, {end, 0, 1}, {1, n, h - 1})
                                                  : SliceAxis(Transpose(states, {1, 0, 2}), 1, end, 1);
  const Value loss = SumAll(read * read) + SumAll(r.carry[0]);
  const Value wrt[] = {x, w, u, b};
  for (const Value& dv : Gradients(loss, wrt)) g.MarkOutput("gradient", dv);
  g.MarkOutput("loss", loss);
  return g;
}

int ProductsInBodies(const Graph& g) {
  int n = 0;
  for (const Node& node : g.nodes()) {
    if (node.op == Op::kScan) n += CountOps(*node.as<ScanAttrs>().body, Op::kMatMul);
  }
  return n;
}

TEST(LiftFromScans, ProductsOverTime) {
  for (const bool reverse : {false, true}) {
    const Graph g = Recurrence(5, 3, 4, 6, reverse);
    const Graph o = OptimizeAndCompare(g, {.tolerance = 1e-5, .scale = 5});
    // Forward: h U. Backward: dz W^T for dx and dz U^T for dh; h U is saved. x W and the weights' gradients leave the
    // loop.
    EXPECT_EQ(ProductsInBodies(o), 3) << ToText(o);
  }
}

// A slice of the last step is the carried state: no step writes the sequence, and its gradient is none of zeros.
TEST(LiftFromScans, SequencesThatNobodyReads) {
  for (const bool reverse : {false, true}) {
    for (const Reads reads : {Reads::kLast, Reads::kLastTransposed}) {
      const Graph g = Recurrence(5, 3, 4, 6, reverse, reads);
      EXPECT_EQ(CountOps(g, Op::kPad), reads == Reads::kLast ? 1 : 0) << ToText(g);
      const Graph o = OptimizeAndCompare(g, {.tolerance = 1e-5, .scale = 5});
      std::vector<int32_t> sequences;  // read and written by each scan
      for (const Node& node : o.nodes()) {
        if (node.op != Op::kScan) continue;
        const auto& at = node.as<ScanAttrs>();
        sequences.insert(sequences.end(), {at.num_sequences, static_cast<int32_t>(node.outputs.size()) - at.num_carry});
      }
      // Forward: x and x W; the states before each step and their tanh. Backward: x, those two; dx, two for sums.
      EXPECT_EQ(sequences, std::vector<int32_t>({2, 2, 3, 3})) << ToText(o);
    }
  }
}

// A published version's weights are the body's own: packed once, not in every run.
TEST(LiftFromScans, LiteralsEnterTheBody) {
  for (const bool literal : {false, true}) {
    std::mt19937 rng(1);
    Graph g, body;
    const Value h = body.AddInput("h", DType::kF32, {3, 40}), x = body.AddInput("x", DType::kF32, {3, 40});
    const Value next = Tanh(MatMul(h, body.AddInput("u", DType::kF32, {40, 40})) * 0.1 + x);
    body.MarkOutput("h", next);
    const Value u = literal ? Constant(&g, RandomTensor(DType::kF32, {40, 40}, &rng)) : Parameter(&g, "u", {40, 40});
    const Value carry[] = {g.AddInput("h", DType::kF32, {3, 40})}, constants[] = {u};
    const Value sequences[] = {g.AddInput("x", DType::kF32, {5, 3, 40})};
    g.MarkOutput("y", Scan(&g, std::move(body), carry, sequences, constants, false, 5).carry[0]);
    const Graph o = OptimizeAndCompare(g, {.tolerance = 1e-5, .scale = 5});
    for (const Node& n : o.nodes()) {
      if (n.op != Op::kScan) continue;
      EXPECT_EQ(n.inputs.size(), literal ? 2 : 3) << ToText(o);
    }
  }
}

TEST(FinalState, IsNoOtherStep) {
  Graph g, body;
  const Value h = body.AddInput("h", DType::kF32, {3}), x = body.AddInput("x", DType::kF32, {3});
  body.MarkOutput("h", h + x);
  body.MarkOutput("sum", h + x);
  body.MarkOutput("before", h);
  const Value carry[] = {g.AddInput("h", DType::kF32, {3})}, sequences[] = {g.AddInput("x", DType::kF32, {4, 3})};
  const ScanResult r = Scan(&g, std::move(body), carry, sequences, {}, false, 4);
  ASSERT_TRUE(g.ok()) << g.status();
  EXPECT_FALSE(FinalState(r.sequences[0], 0, 2));  // an earlier step
  EXPECT_FALSE(FinalState(r.sequences[0], 1, 2));  // another axis
  EXPECT_FALSE(FinalState(r.sequences[1], 0, 3));  // another value
  EXPECT_FALSE(FinalState(sequences[0], 0, 3));    // no scan
}

// Two threads run all steps of their own rows.
TEST(Scan, RangesOfRows) {
  const Graph g = Recurrence(4, 9, 3, 5, false);
  const absl::StatusOr<Graph> o = Optimize(Prune(g));
  ASSERT_TRUE(o.ok()) << o.status();
  const auto plan = MakePlan(Prune(*o), {.threads = 2});
  ASSERT_TRUE(plan.ok());
  int by_rows = 0;
  for (const PlanStep& step : (*plan)->steps)
    by_rows += step.kernel != nullptr && step.kernel->name() == std::string("scan_rows");
  EXPECT_EQ(by_rows, 2) << ToText(**plan);
  OptimizeAndCompare(g, {.tolerance = 1e-5, .scale = 5});
}

}  // namespace
}  // namespace strata
