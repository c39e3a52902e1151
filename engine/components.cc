// Custom components in the facade (session.h).
#include "engine/base/status.h"
#include "engine/nn/custom/custom.h"
#include "engine/session.h"

namespace strata {
namespace {

// Names of components that the layers of a block use.
void UsedByBlock(const google::protobuf::Value& v, std::set<std::string>* names) {
  for (const auto& item : v.list_value().values()) UsedByBlock(item, names);
  for (const auto& [key, item] : v.struct_value().fields()) {
    const auto& fields = item.struct_value().fields();
    const auto component = fields.find("component"), version = fields.find("version");
    if (key == "custom" && component != fields.end()) {
      const std::string& name = component->second.string_value();
      names->insert(version == fields.end() ? name : absl::StrCat(name, ":", version->second.string_value()));
    }
    UsedByBlock(item, names);
  }
}

const v1::CustomComponent* Find(const CustomComponents& list, const std::string& name) {
  const v1::CustomComponent* found = nullptr;
  for (const v1::CustomComponent& d : list) {
    const std::string& version = d.version().empty() ? "1" : d.version();
    if (d.name() == name || absl::StrCat(d.name(), ":", version) == name) found = &d;
  }
  return found;
}

template <typename M>
void Add(const CustomComponents& known, M* message) {
  std::set<std::string> wanted = nn::UnresolvedComponents(*message);
  for (const v1::CustomComponent& d : message->custom_components()) {
    google::protobuf::Value block;
    *block.mutable_struct_value() = d.block();
    UsedByBlock(block, &wanted);
  }
  // What is added may want more; every name is looked at once.
  std::set<std::string> seen;
  while (!wanted.empty()) {
    const std::string name = wanted.extract(wanted.begin()).value();
    if (!seen.insert(name).second || Find(message->custom_components(), name) != nullptr) continue;
    const v1::CustomComponent* d = Find(known, name);
    if (d == nullptr) continue;
    *message->add_custom_components() = *d;
    google::protobuf::Value block;
    *block.mutable_struct_value() = d->block();
    UsedByBlock(block, &wanted);
  }
}

}  // namespace

absl::StatusOr<v1::CustomComponent> CheckComponent(const v1::CustomComponent& component) {
  v1::CustomComponent complete = component;
  STRATA_RETURN_IF_ERROR(nn::CompleteDefinition(v1::DIALECT_UNSPECIFIED, "component", &complete));
  return complete;
}

void AddComponents(const CustomComponents& known, v1::Model* model) { Add(known, model); }
void AddComponents(const CustomComponents& known, v1::TrainingConfig* config) { Add(known, config); }

}  // namespace strata
