// Losses of PyTorch whose targets are class indices.
#pragma once

#include "engine/nn/losses/component.h"

namespace strata::nn {

// Per class, as a constant; empty where `weight` is null. Fails if it has not one factor for each class.
Value ClassWeights(Scope& s, const v1::Doubles* weight, int64_t classes);

// Classes on axis 1 (axis 0 without a batch): moved to the end.
Value ClassesLast(Value x);

struct ClassOptions {
  const v1::Doubles* weight;  // per class, or null
  int64_t ignore_index;
  double smoothing;
};
// Class indices: -w[y] log_p[y], with smoothing (1 - e) of that and e / C of the sum over classes; ignored targets
// count nothing.
LossTerms OfIndices(Scope& s, const ClassOptions& o, Value log_p, Value target);

// Scores [N, C] and labels, one for each row or one for each class; a single sample comes without a batch axis.
struct Scores {
  Value x, t;
  bool unbatched = false;
};
Scores ScoresOf(Scope& s, const LossArgs& args, bool label_per_class);

}  // namespace strata::nn
