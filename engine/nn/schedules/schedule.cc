#include "engine/nn/schedules/schedule.h"

#include "engine/base/status.h"

namespace strata::nn {
namespace {

absl::StatusOr<ScheduleRule> RuleOf(v1::Dialect dialect, const v1::Schedule& s) {
  switch (s.kind_case()) {
    case v1::Schedule::kExponential:
      return MakeExponential(dialect, s.exponential());
    case v1::Schedule::kStep:
      return MakeStep(s.step());
    case v1::Schedule::kMultiStep:
      return MakeMultiStep(s.multi_step());
    case v1::Schedule::kPiecewiseConstant:
      return MakePiecewiseConstant(s.piecewise_constant());
    case v1::Schedule::kPolynomial:
      return MakePolynomial(dialect, s.polynomial());
    case v1::Schedule::kLinear:
      return MakeLinear(s.linear());
    case v1::Schedule::kConstant:
      return MakeConstant(s.constant());
    case v1::Schedule::kInverseTime:
      return MakeInverseTime(s.inverse_time());
    case v1::Schedule::kCosine:
      return MakeCosine(dialect, s.cosine());
    case v1::Schedule::kCosineRestarts:
      return MakeCosineRestarts(dialect, s.cosine_restarts());
    case v1::Schedule::kOneCycle:
      return MakeOneCycle(s.one_cycle());
    case v1::Schedule::kPlateau:
      return MakePlateau(dialect, s.plateau());
    case v1::Schedule::kLambda:
      return MakeLambda(dialect, s.lambda());
    case v1::Schedule::kMultiplicative:
      return MakeMultiplicative(s.multiplicative());
    case v1::Schedule::KIND_NOT_SET:
      break;
  }
  return InvalidArgument("schedule.kind: must be set, got nothing");
}

}  // namespace

absl::StatusOr<ScheduleRule> MakeSchedule(v1::Dialect dialect, const v1::Schedule& s) {
  STRATA_ASSIGN_OR_RETURN(ScheduleRule rule, RuleOf(dialect, s));
  if (dialect == v1::PYTORCH && rule.counts != ScheduleRule::Counts::kReductions) {
    const bool epochs = s.interval() == v1::Schedule::EPOCH ||
                        (s.interval() == v1::Schedule::INTERVAL_UNSPECIFIED && !s.has_one_cycle());
    rule.counts = epochs ? ScheduleRule::Counts::kEpochs : ScheduleRule::Counts::kUpdates;
  }
  return rule;
}

}  // namespace strata::nn
