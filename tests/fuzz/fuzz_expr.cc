// Any text as a program: refused at a place, or a graph that verifies. Nothing is run.

#include <cstdint>
#include <string>

#include "engine/base/status.h"
#include "engine/expr/evaluate.h"
#include "engine/expr/parser.h"
#include "engine/expr/rows.h"
#include "engine/ops/record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  using namespace strata::expr;
  const auto program = Parse(std::string_view(reinterpret_cast<const char*>(data), size));
  STRATA_CHECK(program.ok() || program.status().message().find(':') != std::string::npos);
  if (!program.ok()) return 0;
  const absl::Status checked = Check(*program, {"x", "i", "n"});
  Graph g;
  Environment environment;
  environment.names["x"] = g.AddInput("x", DType::kF32, {2, 3});
  environment.names["i"] = g.AddInput("i", DType::kI32, {3});
  environment.names["n"] = Number::Int(3);
  Evaluator evaluator(&g, environment);
  const auto results = evaluator.Run(*program);
  // What the check refuses never runs through, unless a branch hides it.
  STRATA_CHECK(results.ok() == g.ok() || !results.ok());
  STRATA_CHECK(results.ok() || !results.status().message().empty());
  if (!results.ok() || !checked.ok()) return 0;
  STRATA_CHECK(Verify(g).ok());
  RowsIndependent(*program, environment, {"x"});
  return 0;
}
