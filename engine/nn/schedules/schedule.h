// Learning-rate schedules: pure functions of a count, evaluated by the host in double.
//
//   STRATA_ASSIGN_OR_RETURN(ScheduleRule rule, MakeSchedule(v1::PYTORCH, definition));
//   rate = rule.rate(base, e);   // e: updates, epochs or reductions so far, as rule.counts says
//
// A plateau is the only schedule with a memory: Plateau turns observed values into a number of reductions.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "strata/v1/schedules.pb.h"
#include "strata/v1/schema.pb.h"

namespace strata::nn {

struct ScheduleRule {
  enum class Counts { kUpdates, kEpochs, kReductions };
  Counts counts = Counts::kUpdates;
  // The rate at e. PyTorch: `base` is the optimizer's or the group's rate. Keras: but for a plateau, the schedule's own
  // rate counts and `base` nothing.
  std::function<double(double base, int64_t e)> rate;
  // Momentum (or beta_1) at e; empty: the optimizer's own.
  std::function<double(int64_t e)> momentum;
};

// The rule of a complete definition. INVALID_ARGUMENT where fields do not fit together.
absl::StatusOr<ScheduleRule> MakeSchedule(v1::Dialect dialect, const v1::Schedule& schedule);

// The memory of ReduceLROnPlateau. Copyable.
class Plateau {
 public:
  static constexpr size_t kStateSize = 4;

  Plateau(v1::Dialect dialect, const v1::PlateauSchedule& definition);

  void Observe(double value);
  // How often the rate has been reduced.
  int64_t reductions() const { return reductions_; }

  // Everything that it remembers, as kStateSize numbers.
  std::vector<double> State() const;
  void SetState(std::span<const double> state);

 private:
  bool Better(double value) const;

  v1::Dialect dialect_;
  v1::PlateauSchedule definition_;
  bool more_is_better_ = false;
  double best_;
  int64_t bad_ = 0, cooldown_ = 0, reductions_ = 0;
};

}  // namespace strata::nn
