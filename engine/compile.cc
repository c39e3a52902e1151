#include "engine/compile.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/graph/flops.h"
#include "engine/ops/record.h"
#include "engine/passes/passes.h"

namespace strata {
namespace {

absl::StatusOr<Graph> Rewrite(Graph graph, const CompileOptions& options) {
  STRATA_RETURN_IF_ERROR(graph.status());
  for (const ValueInfo& v : graph.values()) {
    int64_t count = 0;
    if (CheckedNumElements(v.shape, &count) && count * static_cast<int64_t>(SizeOf(v.dtype)) <= options.max_value_bytes)
      continue;
    return absl::ResourceExhaustedError(absl::StrCat("model: a value of shape ", ShapeString(v.shape),
                                                     " is larger than ", options.max_value_bytes, " bytes"));
  }
  if (!options.reference) return Optimize(std::move(graph));
  graph = Prune(graph);
  STRATA_RETURN_IF_ERROR(Verify(graph));
  return graph;
}

PlanOptions OptionsOf(const CompileOptions& options) {
  return {.threads = options.threads, .bf16 = options.bf16 && CpuHasBf16(), .reference_only = options.reference};
}

// What a thread must have to do to be worth waking: some microseconds.
constexpr int64_t kLeastFlops = 100'000;

}  // namespace

absl::StatusOr<std::unique_ptr<const Plan>> Compile(Graph graph, const CompileOptions& options) {
  STRATA_ASSIGN_OR_RETURN(Graph rewritten, Rewrite(std::move(graph), options));
  return MakePlan(std::move(rewritten), OptionsOf(options));
}

absl::StatusOr<std::vector<RowPart>> CompileByRows(Graph graph, const std::vector<bool>& batched, size_t sums,
                                                   const CompileOptions& options) {
  STRATA_ASSIGN_OR_RETURN(Graph rewritten, Rewrite(std::move(graph), options));
  std::vector<RowPart> parts;
  if (CountFlops(rewritten) >= kLeastFlops * options.threads)
    parts = PlanByRows(rewritten, batched, sums, OptionsOf(options));
  if (parts.empty()) {
    STRATA_ASSIGN_OR_RETURN(std::unique_ptr<const Plan> whole, MakePlan(std::move(rewritten), OptionsOf(options)));
    parts.push_back({0, -1, std::move(whole)});
  }
  return parts;
}

std::string SignatureKey(const NamedViews& tensors) {
  std::string key;
  for (const auto& [name, view] : tensors) {
    absl::StrAppend(&key, name, ":", DTypeName(view.dtype));
    for (int64_t d : view.shape) absl::StrAppend(&key, ",", d);
    key += ';';
  }
  return key;
}

}  // namespace strata
