// A plan: the compiled form of a graph. Order, kernels and arena offsets; no weights. Immutable, shared by any number
// of contexts.
//
// Two phases: first everything that only reads; then, if the graph's "commit" output is true or absent, everything that
// writes variables. So a step is applied whole or not at all.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/kernels/kernel.h"

namespace strata {

// Where a value lives during a run.
struct Place {
  enum class Kind : uint8_t { kNone, kArena, kInput, kOutput, kVariable, kConstant };
  Kind kind = Kind::kNone;
  int64_t index = 0;  // arena: byte offset; input, output, variable: position
  const void* constant = nullptr;
  int64_t offset = 0;  // bytes from there
};

struct PlanStep {
  NodeId node;
  std::unique_ptr<Kernel> kernel;  // null: a copy of `in[0]` into a variable
  std::vector<ValueId> in, out;
  int32_t band = -1;                  // that the step belongs to
  int32_t variable = -1;              // of an assignment
  int64_t bytes = 0;                  // of an assignment
  int64_t scratch = -1;               // arena offset
  std::vector<std::string> declined;  // what better candidates said
};

// Steps that follow each other and whose rows need nothing but the same rows of each other's results: a normalisation's
// sums, its result, its gradient. They run together, some rows at a time, so that what one makes is still in cache when
// the next one reads it.
struct Band {
  size_t first = 0, count = 0;  // steps
  int64_t parts = 0;
  std::vector<ValueId> whole;  // values (in whose memory others may be) of which a step reads more than its own rows
};

struct Plan {
  Graph graph;
  std::vector<PlanStep> steps;
  std::vector<Band> bands;
  size_t first_write = 0;     // steps from here on write variables
  std::vector<Place> places;  // by value
  int64_t arena_bytes = 0;
  int64_t value_bytes = 0;  // what the arena would take without reuse
  ValueId commit = -1;
  int threads = 1;
  int64_t packed_bytes = 0;  // weights that kernels keep in a layout of their own

  // With one context.
  int64_t memory_bytes() const { return arena_bytes + packed_bytes; }
};

struct PlanOptions {
  int threads = 1;
  bool bf16 = false;  // see KernelOptions
  bool reuse = true;  // false: every value has memory of its own (tests)
  bool in_place = true;
  bool reference_only = false;
  // Of a core's second-level cache, what the steps of a band may touch at a time; what touches less than twice as much
  // in all is no band.
  int64_t cache_bytes = int64_t{192} << 10;
  // The last so many inputs keep their values over many runs: see Context::Pack.
  size_t steady_inputs = 0;
  // Outputs that a step computes have no place in the arena: Context::Run is told where they go.
  bool place_outputs = false;
};

// The graph must be verified. Takes it over.
absl::StatusOr<std::unique_ptr<const Plan>> MakePlan(Graph graph, const PlanOptions& options);

// One line a step: kernel, sizes, offsets, and why better candidates declined.
std::string ToText(const Plan& plan);

}  // namespace strata
