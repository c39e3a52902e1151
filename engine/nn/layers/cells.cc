#include "engine/nn/layers/cells.h"

#include "engine/ops/ops.h"

namespace strata::nn {

Outputs FinishCell(Scope& s, const CellStep& c, const std::vector<Value>& next) {
  Outputs out;
  if (!s.pytorch()) out.push_back(next[0]);
  for (const Value& v : next) out.push_back(c.unbatched ? Squeeze(v, 0) : v);
  return out;
}

}  // namespace strata::nn
