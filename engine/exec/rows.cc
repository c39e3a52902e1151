#include "engine/exec/rows.h"

#include "engine/base/status.h"
#include "engine/passes/passes.h"

namespace strata {

std::vector<RowPart> PlanByRows(const Graph& graph, const std::vector<bool>& batched, size_t sums,
                                const PlanOptions& options) {
  constexpr int64_t kLeastRows = 4;
  int64_t batch = 0;
  for (size_t i = 0; i < batched.size(); ++i) {
    if (batched[i]) batch = graph.info(graph.inputs()[i].value).shape[0];
  }
  const int64_t count = std::min<int64_t>(options.threads, batch / kLeastRows);
  std::vector<RowPart> parts;
  for (int64_t i = 0; i < count && count > 1; ++i) {
    RowPart part{batch * i / count, batch * (i + 1) / count - batch * i / count, nullptr};
    for (const RowPart& other : parts) {
      if (other.rows == part.rows) part.plan = other.plan;
    }
    if (part.plan == nullptr) {
      std::string why;
      std::optional<Graph> cut = CutRows(graph, batched, sums, part.rows, &why);
      if (!cut) return {};
      PlanOptions one = options;
      one.threads = 1;
      absl::StatusOr<std::unique_ptr<const Plan>> plan = MakePlan(Prune(*cut), one);
      STRATA_CHECK(plan.ok());
      part.plan = *std::move(plan);
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace strata
