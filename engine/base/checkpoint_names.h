// Names of tensors in a checkpoint: "weight:<parameter or buffer>", "optimizer:<parameter>/<slot>", what a session
// remembers, and weights that are kept. What was trained elsewhere has neither counters nor random state: in their
// place stands the number of updates, one i64.
#pragma once

#include <string_view>

namespace strata::checkpoint {

inline constexpr char kWeight[] = "weight:", kSlot[] = "optimizer:", kSession[] = "session:", kKept[] = "kept:";
inline constexpr char kCounters[] = "session:counters", kUpdates[] = "session:updates";

// What the names of weights that a loss owns begin with, then the objective's index: "objectives.0.", in Keras'
// dialect "objectives/0/". They are no parameters of a model: they go with its trainings, versions and files.
inline constexpr char kObjectives[] = "objectives";
constexpr bool IsOfLoss(std::string_view weight) {
  constexpr std::string_view kPrefix = kObjectives;
  if (weight.substr(0, kPrefix.size()) != kPrefix || weight.size() < kPrefix.size() + 2) return false;
  const char separator = weight[kPrefix.size()], digit = weight[kPrefix.size() + 1];
  return (separator == '.' || separator == '/') && digit >= '0' && digit <= '9';
}

// What the own names of states begin with that stateful recurrent layers keep from step to step, then the state's
// index: "lstm/states.0", in a wrapper "both/forward_states.1".
inline constexpr char kRecurrentState[] = "states.";
constexpr bool IsRecurrentState(std::string_view weight) {
  const std::string_view own = weight.substr(weight.rfind('/') + 1);
  const size_t at = own.rfind(kRecurrentState);
  if (at == std::string_view::npos || (at > 0 && own[at - 1] != '_')) return false;
  const std::string_view index = own.substr(at + std::string_view(kRecurrentState).size());
  return !index.empty() && index.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace strata::checkpoint
