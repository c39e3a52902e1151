// ReduceLROnPlateau of both frameworks.
#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/match.h"
#include "engine/base/status.h"
#include "engine/nn/schedules/component.h"

namespace strata::nn {

Plateau::Plateau(v1::Dialect dialect, const v1::PlateauSchedule& definition)
    : dialect_(dialect), definition_(definition) {
  more_is_better_ =
      definition.mode() == "max" || (definition.mode() == "auto" && absl::StrContains(definition.monitor(), "acc"));
  best_ = more_is_better_ ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
}

bool Plateau::Better(double value) const {
  const double t = definition_.threshold();
  // Keras' threshold is absolute.
  if (dialect_ == v1::PYTORCH && definition_.threshold_mode() == "rel") {
    return more_is_better_ ? value > best_ * (1 + t) : value < best_ * (1 - t);
  }
  return more_is_better_ ? value > best_ + t : value < best_ - t;
}

void Plateau::Observe(double value) {
  const bool keras = dialect_ == v1::KERAS;
  if (keras && cooldown_ > 0) {
    --cooldown_;
    bad_ = 0;
  }
  if (Better(value)) {
    best_ = value;
    bad_ = 0;
  } else if (!keras || cooldown_ == 0) {
    ++bad_;
  }
  if (!keras && cooldown_ > 0) {
    --cooldown_;
    bad_ = 0;  // what happens in the cooldown counts nothing
  }
  // PyTorch is patient once more. Keras looks only after a value that is no better.
  const bool reduce = keras ? bad_ > 0 && bad_ >= definition_.patience() : bad_ > definition_.patience();
  if (!reduce) return;
  ++reductions_;
  cooldown_ = definition_.cooldown();
  bad_ = 0;
}

std::vector<double> Plateau::State() const {
  return {best_, static_cast<double>(bad_), static_cast<double>(cooldown_), static_cast<double>(reductions_)};
}

void Plateau::SetState(std::span<const double> state) {
  STRATA_CHECK(state.size() == kStateSize);
  best_ = state[0];
  bad_ = static_cast<int64_t>(state[1]);
  cooldown_ = static_cast<int64_t>(state[2]);
  reductions_ = static_cast<int64_t>(state[3]);
}

namespace {

absl::StatusOr<ScheduleRule> Make(v1::Dialect dialect, const v1::PlateauSchedule& a) {
  ScheduleRule r;
  r.counts = ScheduleRule::Counts::kReductions;
  const double factor = a.factor(), least = a.min_learning_rate();
  if (dialect == v1::KERAS) {
    r.rate = [=](double base, int64_t reductions) {
      double rate = base;
      for (int64_t i = 0; i < reductions && rate > least; ++i) rate = std::max(rate * factor, least);
      return rate;
    };
    return r;
  }
  r.rate = [=, epsilon = a.epsilon()](double base, int64_t reductions) {
    double rate = base;
    for (int64_t i = 0; i < reductions; ++i) {
      const double lower = std::max(rate * factor, least);
      if (!(rate - lower > epsilon)) break;  // neither this reduction nor a later one changes anything
      rate = lower;
    }
    return rate;
  };
  return r;
}

}  // namespace

ScheduleComponent ReduceOnPlateauSchedule() { return Schedule<v1::PlateauSchedule>("plateau", &Make); }

}  // namespace strata::nn
