#include "engine/base/status.h"
#include "engine/ops/record.h"
#include "engine/passes/passes.h"

namespace strata {

absl::StatusOr<Graph> Optimize(Graph graph) {
  struct Pass {
    const char* name;
    Graph (*run)(const Graph&);
  };
  static constexpr Pass kPasses[] = {{"prune", Prune},           {"simplify", Simplify}, {"scans", LiftFromScans},
                                     {"layouts", ChooseLayouts}, {"sums", SimplifySums}, {"simplify", Simplify},
                                     {"affine", FoldAffine},     {"fuse", Fuse}};
  STRATA_RETURN_IF_ERROR(graph.status());
  STRATA_RETURN_IF_ERROR(Verify(graph));
  for (const Pass& pass : kPasses) {
    graph = pass.run(graph);
    STRATA_RETURN_IF_ERROR(graph.status());
    if (const absl::Status s = Verify(graph); !s.ok()) {
      return absl::InternalError(absl::StrCat("pass ", pass.name, ": ", s.message()));
    }
  }
  return graph;
}

}  // namespace strata
