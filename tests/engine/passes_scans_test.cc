#include "tests/engine/passes_support.h"

namespace strata {
namespace {

// h' = tanh(x W + h U + b), its loss and all gradients.
Graph Recurrence(int64_t t, int64_t n, int64_t d, int64_t h, bool reverse) {
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
  const Value loss = SumAll(r.sequences[0] * r.sequences[0]) + SumAll(r.carry[0]);
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
