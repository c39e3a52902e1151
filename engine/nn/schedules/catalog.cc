// The list of schedules. A new one is one file and one line here.
#include "engine/base/status.h"
#include "engine/nn/schedules/component.h"
#include "engine/nn/schema.h"

// clang-format off
#define STRATA_SCHEDULES(SCHEDULE) \
  SCHEDULE(ConstantSchedule) \
  SCHEDULE(CosineRestartsSchedule) \
  SCHEDULE(CosineSchedule) \
  SCHEDULE(ExponentialSchedule) \
  SCHEDULE(InverseTimeSchedule) \
  SCHEDULE(LambdaSchedule) \
  SCHEDULE(LinearSchedule) \
  SCHEDULE(MultiStepSchedule) \
  SCHEDULE(MultiplicativeSchedule) \
  SCHEDULE(OneCycleSchedule) \
  SCHEDULE(PiecewiseConstantSchedule) \
  SCHEDULE(PolynomialSchedule) \
  SCHEDULE(ReduceOnPlateauSchedule) \
  SCHEDULE(StepSchedule)
// clang-format on

namespace strata::nn {

#define DECLARE(Name) ScheduleComponent Name();
STRATA_SCHEDULES(DECLARE)
#undef DECLARE

const std::vector<ScheduleComponent>& Schedules() {
#define CALL(Name) Name(),
  static const std::vector<ScheduleComponent> list = {STRATA_SCHEDULES(CALL)};
#undef CALL
  return list;
}

const ScheduleComponent* FindSchedule(const v1::Schedule& schedule) {
  const auto* kind = KindOf(schedule);
  if (kind == nullptr) return nullptr;
  for (const ScheduleComponent& c : Schedules()) {
    if (c.name() == kind->name()) return &c;
  }
  return nullptr;
}

const google::protobuf::Message& AttributesOf(const v1::Schedule& schedule) {
  const auto* kind = KindOf(schedule);
  STRATA_CHECK(kind != nullptr);
  return schedule.GetReflection()->GetMessage(schedule, kind);
}

}  // namespace strata::nn
