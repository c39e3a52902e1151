// The custom components that clients have registered: names that models created later may use.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "service/core/clock.h"
#include "service/core/engine.h"
#include "service/store/store.h"
#include "strata/v1/services.pb.h"

namespace strata::service {

// Thread-safe. Functions block on the disk unless they say otherwise.
class ComponentRegistry {
 public:
  struct Options {
    Store* store = nullptr;
    const Engine* engine = nullptr;
    const Clock* clock = nullptr;
    int max_components = 1000;
  };
  explicit ComponentRegistry(const Options& options) : options_(options) {}

  absl::Status Load();

  absl::StatusOr<v1::CustomComponentInfo> Register(const v1::CustomComponent& component);
  // The newest version if `version` is empty. Does not block.
  absl::StatusOr<v1::CustomComponentInfo> Get(const std::string& name, const std::string& version) const;
  // All versions if `version` is empty.
  absl::Status Delete(const std::string& name, const std::string& version);
  // The engine's components of `family` (empty: all), and all that clients have registered. INVALID_ARGUMENT for a
  // family that there is not. Does not block.
  absl::StatusOr<v1::ListComponentsResponse> List(const std::string& family) const;
  // The definitions, older versions of a name before newer ones. Does not block.
  CustomComponents Definitions() const;

 private:
  struct Entry {
    v1::CustomComponentInfo info;
    ComponentRecord record;
  };

  const Options options_;
  absl::Mutex change_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable absl::Mutex mutex_;
  // By name and order of registration.
  std::map<std::pair<std::string, int64_t>, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace strata::service
