#include "engine/nn/schedules/schedule.h"

#include "engine/base/status.h"
#include "engine/nn/schedules/component.h"

namespace strata::nn {

absl::StatusOr<ScheduleRule> MakeSchedule(v1::Dialect dialect, const v1::Schedule& s) {
  const ScheduleComponent* component = FindSchedule(s);
  if (component == nullptr) return InvalidArgument("schedule.kind: must be set, got nothing");
  STRATA_ASSIGN_OR_RETURN(ScheduleRule rule, component->make()(dialect, s));
  if (dialect == v1::PYTORCH && rule.counts != ScheduleRule::Counts::kReductions) {
    const bool epochs = s.interval() == v1::Schedule::EPOCH ||
                        (s.interval() == v1::Schedule::INTERVAL_UNSPECIFIED && !component->per_update());
    rule.counts = epochs ? ScheduleRule::Counts::kEpochs : ScheduleRule::Counts::kUpdates;
  }
  return rule;
}

}  // namespace strata::nn
