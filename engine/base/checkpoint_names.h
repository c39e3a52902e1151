// Names of tensors in a checkpoint: "weight:<parameter or buffer>", "optimizer:<parameter>/<slot>", what a session
// remembers, and weights that are kept. What was trained elsewhere has neither counters nor random state: in their
// place stands the number of updates, one i64.
#pragma once

namespace strata::checkpoint {

inline constexpr char kWeight[] = "weight:", kSlot[] = "optimizer:", kSession[] = "session:", kKept[] = "kept:";
inline constexpr char kCounters[] = "session:counters", kUpdates[] = "session:updates";

}  // namespace strata::checkpoint
