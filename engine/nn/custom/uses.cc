// Uses of custom components: finding their definitions, and the values of their hyper-parameters.
#include <cmath>
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/expr/ast.h"
#include "engine/nn/custom/custom.h"
#include "strata/v1/training.pb.h"

namespace strata::nn {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int64_t kMaxCopiedBytes = int64_t{64} << 20;  // of definitions put into uses

bool IsWhole(double v) { return v == std::floor(v) && std::fabs(v) <= 9007199254740992.0; }

}  // namespace

std::string ValueText(const google::protobuf::Value& v) {
  switch (v.kind_case()) {
    case google::protobuf::Value::kNumberValue:
      return absl::StrCat(v.number_value());
    case google::protobuf::Value::kStringValue:
      return absl::StrCat("\"", v.string_value(), "\"");
    case google::protobuf::Value::kBoolValue:
      return v.bool_value() ? "true" : "false";
    case google::protobuf::Value::kListValue:
      return absl::StrCat("a list of ", v.list_value().values_size());
    case google::protobuf::Value::kStructValue:
      return "an object";
    default:
      return "null";
  }
}

absl::Status CheckHyperparameter(const std::string& path, v1::Hyperparameter::Type type,
                                 const google::protobuf::Value& v) {
  using V = google::protobuf::Value;
  const auto kind = v.kind_case();
  const auto refuse = [&] {
    return InvalidArgument(path, ": must be ", v1::Hyperparameter::Type_Name(type), ", got ", ValueText(v));
  };
  if (kind == V::KIND_NOT_SET || kind == V::kNullValue) return absl::OkStatus();
  if (kind == V::kStructValue)
    return InvalidArgument(path, ": must be a number, text, truth value or list of these, got an object");
  if (kind == V::kNumberValue && !std::isfinite(v.number_value())) {
    return InvalidArgument(path, ": must be finite, got ", v.number_value());
  }
  if (kind == V::kListValue) {
    if (v.list_value().values_size() > expr::kMaxListLength) {
      return InvalidArgument(path, ": must have at most ", expr::kMaxListLength, " items, got ",
                             v.list_value().values_size());
    }
    for (int i = 0; i < v.list_value().values_size(); ++i) {
      const std::string at = absl::StrCat(path, "[", i, "]");
      const V& item = v.list_value().values(i);
      if (item.kind_case() == V::kListValue) {
        for (const V& inner : item.list_value().values()) {
          if (inner.kind_case() != V::kNumberValue)
            return InvalidArgument(at, ": must be numbers, got ", ValueText(inner));
        }
        continue;
      }
      STRATA_RETURN_IF_ERROR(CheckHyperparameter(at, v1::Hyperparameter::TYPE_UNSPECIFIED, item));
    }
  }
  switch (type) {
    case v1::Hyperparameter::INT:
      return kind == V::kNumberValue && IsWhole(v.number_value()) ? absl::OkStatus() : refuse();
    case v1::Hyperparameter::FLOAT:
      return kind == V::kNumberValue ? absl::OkStatus() : refuse();
    case v1::Hyperparameter::BOOL:
      return kind == V::kBoolValue ? absl::OkStatus() : refuse();
    case v1::Hyperparameter::STRING:
      return kind == V::kStringValue ? absl::OkStatus() : refuse();
    case v1::Hyperparameter::LIST:
      return kind == V::kListValue ? absl::OkStatus() : refuse();
    default:
      return absl::OkStatus();
  }
}

namespace {

bool IsUse(const google::protobuf::Descriptor* d) {
  return d == v1::CustomLayer::descriptor() || d == v1::CustomLoss::descriptor() || d == v1::CustomMetric::descriptor();
}

// f(use) for every use inside `message`.
template <typename F>
void ForEachUse(Message* message, F f) {
  if (IsUse(message->GetDescriptor())) return f(message);
  if (message->GetDescriptor() == v1::CustomComponent::descriptor()) return;
  const Reflection* r = message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  r->ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_map()) continue;
    if (!field->is_repeated()) {
      ForEachUse(r->MutableMessage(message, field), f);
      continue;
    }
    for (int i = 0, n = r->FieldSize(*message, field); i < n; ++i) {
      ForEachUse(r->MutableRepeatedMessage(message, field, i), f);
    }
  }
}

// The fields that the three kinds of uses share.
struct Use {
  std::string component, version;
  v1::CustomComponent* definition;  // null if there is none
  google::protobuf::Struct* values;
};
template <typename M>
Use UseOf(M* m) {
  return {m->component(), m->version(), m->has_definition() ? m->mutable_definition() : nullptr,
          m->mutable_hyperparameters()};
}
Use UseOf(Message* m) {
  if (m->GetDescriptor() == v1::CustomLayer::descriptor()) return UseOf(static_cast<v1::CustomLayer*>(m));
  if (m->GetDescriptor() == v1::CustomLoss::descriptor()) return UseOf(static_cast<v1::CustomLoss*>(m));
  return UseOf(static_cast<v1::CustomMetric*>(m));
}

void SetDefinition(Message* m, const v1::CustomComponent& d) {
  const auto* field = m->GetDescriptor()->FindFieldByName("definition");
  m->GetReflection()->MutableMessage(m, field)->CopyFrom(d);
}

const v1::CustomComponent* Find(const Definitions& definitions, const Use& use) {
  const v1::CustomComponent* found = nullptr;
  for (const v1::CustomComponent& d : definitions) {
    const std::string& version = d.version().empty() ? "1" : d.version();
    if (d.name() == use.component && (use.version.empty() || use.version == version)) found = &d;
  }
  return found;
}

bool KindFits(const Message& m, v1::CustomComponent::Kind kind) {
  const auto* d = m.GetDescriptor();
  if (d == v1::CustomLoss::descriptor()) return kind == v1::CustomComponent::LOSS;
  if (d == v1::CustomMetric::descriptor()) return kind == v1::CustomComponent::METRIC;
  return kind == v1::CustomComponent::LAYER || kind == v1::CustomComponent::CELL || kind == v1::CustomComponent::BLOCK;
}

}  // namespace

absl::Status Resolve(const Definitions& definitions, Message* message) {
  int64_t copied = 0;
  ForEachUse(message, [&](Message* m) {
    const Use use = UseOf(m);
    const v1::CustomComponent* d = use.definition == nullptr ? Find(definitions, use) : nullptr;
    if (d == nullptr || copied > kMaxCopiedBytes) return;
    copied += static_cast<int64_t>(d->ByteSizeLong());
    SetDefinition(m, *d);
  });
  if (copied <= kMaxCopiedBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("custom_components: uses must hold at most ", kMaxCopiedBytes, " bytes of definitions, got more"));
}

std::set<std::string> UnresolvedComponents(const Message& message) {
  std::set<std::string> names;
  std::unique_ptr<Message> copy(message.New());
  copy->CopyFrom(message);
  const Definitions* own = nullptr;
  if (const auto* model = dynamic_cast<const v1::Model*>(&message)) own = &model->custom_components();
  if (const auto* config = dynamic_cast<const v1::TrainingConfig*>(&message)) own = &config->custom_components();
  ForEachUse(copy.get(), [&](Message* m) {
    const Use use = UseOf(m);
    if (use.definition != nullptr || use.component.empty() || (own != nullptr && Find(*own, use) != nullptr)) return;
    names.insert(use.version.empty() ? use.component : absl::StrCat(use.component, ":", use.version));
  });
  return names;
}

absl::Status CompleteUse(v1::Dialect dialect, const std::string& path, Message* message) {
  const Use use = UseOf(message);
  if (use.definition == nullptr && use.component.empty()) {
    return InvalidArgument(path, ".component: must be set, got nothing");
  }
  if (use.definition == nullptr) {
    return InvalidArgument(path, ".component: must name a custom component of the model or of the catalog, got \"",
                           use.component, "\"");
  }
  v1::CustomComponent* d = use.definition;
  STRATA_RETURN_IF_ERROR(CompleteDefinition(dialect, path + ".definition", d));
  if (!use.component.empty() && use.component != d->name()) {
    return InvalidArgument(path, ".component: must be the definition's name \"", d->name(), "\", got \"", use.component,
                           "\"");
  }
  if (!KindFits(*message, d->kind())) {
    return InvalidArgument(path, ".component: must be of another kind, got ", v1::CustomComponent::Kind_Name(d->kind()),
                           " \"", d->name(), "\"");
  }
  auto& values = *use.values->mutable_fields();
  std::set<std::string> known;
  for (const v1::Hyperparameter& h : d->hyperparameters()) {
    known.insert(h.name());
    const std::string at = absl::StrCat(path, ".hyperparameters.", h.name());
    const auto it = values.find(h.name());
    if (it == values.end()) {
      if (!h.has_default_()) return InvalidArgument(at, ": must be set, got nothing");
      values[h.name()] = h.default_();
    } else {
      STRATA_RETURN_IF_ERROR(CheckHyperparameter(at, h.type(), it->second));
      STRATA_RETURN_IF_ERROR(CheckRangeOf(at, h, it->second));
    }
  }
  for (const auto& [name, value] : values) {
    if (known.count(name) == 0)
      return InvalidArgument(path, ".hyperparameters.", name, ": unknown argument, got ", ValueText(value));
  }
  return absl::OkStatus();
}

}  // namespace strata::nn
