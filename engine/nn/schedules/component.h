// A schedule as the catalog holds it.
//
//   ScheduleComponent StepSchedule() { return Schedule<v1::StepSchedule>("step", &Make); }
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/nn/schedules/schedule.h"

namespace strata::nn {

// The message of a schedule's kind, which must be set.
const google::protobuf::Message& AttributesOf(const v1::Schedule& schedule);

class ScheduleComponent {
 public:
  using Make = std::function<absl::StatusOr<ScheduleRule>(v1::Dialect, const v1::Schedule&)>;

  ScheduleComponent(std::string name, Make make) : name_(std::move(name)), make_(std::move(make)) {}

  // PyTorch: its author calls it after every update, unless the definition says otherwise. Without this: every epoch.
  ScheduleComponent&& PerUpdate() && {
    per_update_ = true;
    return std::move(*this);
  }

  // Name of the member of Schedule.kind.
  const std::string& name() const { return name_; }
  const Make& make() const { return make_; }
  bool per_update() const { return per_update_; }

 private:
  std::string name_;
  Make make_;
  bool per_update_ = false;
};

// A schedule whose attributes are message M at member `name` of Schedule.kind.
template <typename M>
ScheduleComponent Schedule(const std::string& name, absl::StatusOr<ScheduleRule> (*make)(v1::Dialect, const M&)) {
  return ScheduleComponent(name, [make](v1::Dialect dialect, const v1::Schedule& schedule) {
    return make(dialect, static_cast<const M&>(AttributesOf(schedule)));
  });
}

// Every schedule of the catalog, in the order of the list in schedules/catalog.cc.
const std::vector<ScheduleComponent>& Schedules();
// Null if the kind is not set.
const ScheduleComponent* FindSchedule(const v1::Schedule& schedule);

}  // namespace strata::nn
