#include "service/core/components.h"

#include <set>
#include <vector>

#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "service/core/names.h"
#include "service/core/wire.h"

namespace strata::service {
namespace {

absl::Status Unknown(const std::string& name, const std::string& version) {
  return absl::NotFoundError(
      absl::StrCat("name: no such component, got ", Quote(name), version.empty() ? "" : " version ", version));
}

}  // namespace

absl::Status ComponentRegistry::Load() {
  STRATA_ASSIGN_OR_RETURN(std::vector<ComponentRecord> records, options_.store->Components());
  absl::MutexLock lock(&mutex_);
  for (ComponentRecord& record : records) {
    Entry entry;
    if (!entry.info.mutable_component()->ParseFromString(record.definition)) {
      return absl::DataLossError(absl::StrCat("store: the definition of component ", record.name, " is damaged"));
    }
    *entry.info.mutable_created() = ToTimestamp(record.created);
    const std::pair<std::string, int64_t> key(record.name, record.id);
    entry.record = std::move(record);
    entries_[key] = std::move(entry);
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::CustomComponentInfo> ComponentRegistry::Register(const v1::CustomComponent& component) {
  STRATA_ASSIGN_OR_RETURN(const v1::CustomComponent complete, options_.engine->CheckComponent(component));
  ComponentRecord record{.name = complete.name(), .version = complete.version()};
  record.definition = CanonicalBytes(complete);
  record.created = options_.clock->Now();
  absl::MutexLock change(&change_mutex_);
  {
    absl::MutexLock lock(&mutex_);
    for (auto it = entries_.lower_bound({record.name, 0}); it != entries_.end() && it->first.first == record.name;
         ++it) {
      if (it->second.record.version != record.version) continue;
      if (it->second.record.definition == record.definition) return it->second.info;
      return absl::AlreadyExistsError(absl::StrCat("component.version: another definition has it, got ",
                                                   Quote(record.version), " of ", Quote(record.name)));
    }
    if (static_cast<int>(entries_.size()) >= options_.max_components) {
      return absl::ResourceExhaustedError(
          absl::StrCat("component: at most ", options_.max_components, " may be registered, got one more"));
    }
  }
  STRATA_RETURN_IF_ERROR(options_.store->AddComponent(&record));
  Entry entry;
  *entry.info.mutable_component() = complete;
  *entry.info.mutable_created() = ToTimestamp(record.created);
  const std::pair<std::string, int64_t> key(record.name, record.id);
  entry.record = std::move(record);
  absl::MutexLock lock(&mutex_);
  return (entries_[key] = std::move(entry)).info;
}

absl::StatusOr<v1::CustomComponentInfo> ComponentRegistry::Get(const std::string& name,
                                                               const std::string& version) const {
  absl::MutexLock lock(&mutex_);
  const Entry* found = nullptr;
  for (auto it = entries_.lower_bound({name, 0}); it != entries_.end() && it->first.first == name; ++it) {
    if (version.empty() || it->second.record.version == version) found = &it->second;
  }
  if (found == nullptr) return Unknown(name, version);
  return found->info;
}

absl::Status ComponentRegistry::Delete(const std::string& name, const std::string& version) {
  absl::MutexLock change(&change_mutex_);
  std::vector<std::pair<std::string, int64_t>> keys;
  {
    absl::MutexLock lock(&mutex_);
    for (auto it = entries_.lower_bound({name, 0}); it != entries_.end() && it->first.first == name; ++it) {
      if (version.empty() || it->second.record.version == version) keys.push_back(it->first);
    }
  }
  if (keys.empty()) return Unknown(name, version);
  for (const auto& key : keys) {
    STRATA_RETURN_IF_ERROR(options_.store->DeleteComponent(key.second));
    absl::MutexLock lock(&mutex_);
    entries_.erase(key);
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::ListComponentsResponse> ComponentRegistry::List(const std::string& family) const {
  v1::ListComponentsResponse response;
  std::set<std::string> families;
  for (v1::ComponentInfo& info : options_.engine->Components()) {
    families.insert(info.family());
    if (family.empty() || info.family() == family) *response.add_components() = std::move(info);
  }
  if (!family.empty() && families.count(family) == 0) {
    return InvalidArgument("family: must be one of ", absl::StrJoin(families, ", "), ", got ", Quote(family));
  }
  absl::MutexLock lock(&mutex_);
  for (const auto& [key, entry] : entries_) *response.add_custom() = entry.info;
  return response;
}

CustomComponents ComponentRegistry::Definitions() const {
  CustomComponents all;
  absl::MutexLock lock(&mutex_);
  for (const auto& [key, entry] : entries_) *all.Add() = entry.info.component();
  return all;
}

}  // namespace strata::service
