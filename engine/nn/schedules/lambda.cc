// A rate, or a factor, by an expression.
#include <memory>

#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"
#include "engine/nn/schedules/formula.h"

namespace strata::nn {
namespace {

absl::StatusOr<ScheduleRule> Make(v1::Dialect dialect, const v1::LambdaSchedule& a) {
  const bool keras = dialect == v1::KERAS;
  STRATA_ASSIGN_OR_RETURN(const std::shared_ptr<const Formula> f,
                          Formula::Make("lambda", a.expression(),
                                        keras ? std::set<std::string>{"epoch", "lr"} : std::set<std::string>{"epoch"}));
  ScheduleRule r;
  if (!keras) {
    r.rate = [f](double base, int64_t e) { return base * f->At(e, base); };
    return r;
  }
  // Keras' callback is called before each epoch and replaces the rate.
  r.counts = ScheduleRule::Counts::kEpochs;
  r.rate = [f, last = std::make_shared<Last>()](double base, int64_t e) {
    if (last->e < 0 || e < last->e || base != last->base) *last = {base, f->At(0, base), 0};
    while (last->e < e) last->value = f->At(++last->e, last->value);
    return last->value;
  };
  return r;
}

}  // namespace

ScheduleComponent LambdaSchedule() { return Schedule<v1::LambdaSchedule>("lambda", &Make); }

}  // namespace strata::nn
