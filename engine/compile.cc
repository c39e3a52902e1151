#include "engine/compile.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/ops/record.h"
#include "engine/passes/passes.h"

namespace strata {

absl::StatusOr<std::unique_ptr<const Plan>> Compile(Graph graph, const CompileOptions& options) {
  STRATA_RETURN_IF_ERROR(graph.status());
  for (const ValueInfo& v : graph.values()) {
    int64_t count = 0;
    if (CheckedNumElements(v.shape, &count) && count * static_cast<int64_t>(SizeOf(v.dtype)) <= options.max_value_bytes)
      continue;
    return absl::ResourceExhaustedError(absl::StrCat("model: a value of shape ", ShapeString(v.shape),
                                                     " is larger than ", options.max_value_bytes, " bytes"));
  }
  if (options.reference) {
    graph = Prune(graph);
    STRATA_RETURN_IF_ERROR(Verify(graph));
  } else {
    STRATA_ASSIGN_OR_RETURN(graph, Optimize(std::move(graph)));
  }
  return MakePlan(std::move(graph), {.threads = options.threads, .reference_only = options.reference});
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
