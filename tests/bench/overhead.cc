#include "tests/bench/overhead.h"

#include <memory>

#include "engine/base/status.h"
#include "engine/compile.h"
#include "engine/exec/context.h"
#include "engine/ops/ops.h"

namespace strata::bench {
namespace {

constexpr int kCount = 1000;

// A graph with two inputs of one number.
OverheadStep StepOf(Graph graph) {
  struct Held {
    std::unique_ptr<const Plan> plan;
    std::unique_ptr<Context> context;
    float x = 1, w = 1;
  };
  auto held = std::make_shared<Held>();
  auto plan = Compile(std::move(graph), {});
  STRATA_CHECK(plan.ok());
  held->plan = *std::move(plan);
  held->context = std::make_unique<Context>(held->plan.get(), std::vector<void*>());
  return {[held] {
            const void* in[] = {&held->x, &held->w};
            held->context->Run(in);
          },
          kCount};
}

}  // namespace

OverheadStep NodeOverhead() {
  Graph g;
  Value x = g.AddInput("x", DType::kF32, {1, 1});
  const Value w = g.AddInput("w", DType::kF32, {1, 1});
  for (int i = 0; i < kCount; ++i) x = MatMul(x, w);
  g.MarkOutput("y", x);
  return StepOf(std::move(g));
}

OverheadStep ScanOverhead() {
  Graph g, body;
  const Value x = g.AddInput("x", DType::kF32, {1, 1}), w = g.AddInput("w", DType::kF32, {1, 1});
  const Value carry = body.AddInput("carry", DType::kF32, {1, 1}), factor = body.AddInput("w", DType::kF32, {1, 1});
  body.MarkOutput("carry", MatMul(carry, factor));
  const Value carries[] = {x}, constants[] = {w};
  g.MarkOutput("y", Scan(&g, std::move(body), carries, {}, constants, false, kCount).carry[0]);
  return StepOf(std::move(g));
}

}  // namespace strata::bench
