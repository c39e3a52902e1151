// Checks of definitions.

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/expr/parser.h"
#include "engine/nn/custom/custom.h"
#include "engine/nn/schema.h"

namespace strata::nn {
namespace {

constexpr int kMaxItems = 256;         // of each list of a definition
constexpr int kMaxDefinitions = 1000;  // of a model
constexpr size_t kMaxNameBytes = 128;
constexpr size_t kMaxBlockBytes = 65536;

bool IsIdentifier(const std::string& name) {
  if (name.empty() || name.size() > kMaxNameBytes || absl::ascii_isdigit(static_cast<unsigned char>(name[0]))) {
    return false;
  }
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '_') return false;
  }
  return true;
}

// Puts "path:" before an error of the language, which begins with its line.
absl::Status InText(const std::string& path, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(path, ":", status.message()));
}

absl::Status CheckExpression(const std::string& path, const std::string& text, const std::set<std::string>& names) {
  const auto node = expr::ParseExpression(text);
  if (!node.ok()) return InText(path, node.status());
  return InText(path, expr::Check(*node, names));
}

// Declared names, each once.
class DeclaredNames {
 public:
  absl::Status Add(const std::string& path, const std::string& name) {
    if (!IsIdentifier(name)) {
      return InvalidArgument(path, ": must be a letter, then letters, digits and underscores, got \"", name, "\"");
    }
    if (!names_.insert(name).second) return InvalidArgument(path, ": must be declared once, got \"", name, "\" twice");
    return absl::OkStatus();
  }
  const std::set<std::string>& all() const { return names_; }

 private:
  std::set<std::string> names_;
};

template <typename List>
absl::Status CheckCount(const std::string& path, const List& list) {
  if (list.size() <= kMaxItems) return absl::OkStatus();
  return InvalidArgument(path, ": must have at most ", kMaxItems, " items, got ", list.size());
}

absl::Status CompleteWeight(v1::Dialect dialect, const std::string& path, const std::set<std::string>& constants,
                            const std::set<std::string>& names, v1::CustomWeight* w) {
  STRATA_RETURN_IF_ERROR(CheckExpression(path + ".shape", w->shape(), names));
  if (!w->when().empty()) STRATA_RETURN_IF_ERROR(CheckExpression(path + ".when", w->when(), constants));
  if (w->start_case() == v1::CustomWeight::START_NOT_SET) w->set_initializer_expression("glorot_uniform()");
  if (w->has_initializer_expression()) {
    STRATA_RETURN_IF_ERROR(
        InText(path + ".initializer_expression", CheckInitializer(w->initializer_expression(), names)));
  }
  if (dialect == v1::DIALECT_UNSPECIFIED) return absl::OkStatus();
  if (w->has_initializer()) STRATA_RETURN_IF_ERROR(Fill(dialect, path + ".initializer", w->mutable_initializer()));
  if (w->has_regularizer()) STRATA_RETURN_IF_ERROR(Fill(dialect, path + ".regularizer", w->mutable_regularizer()));
  if (w->has_constraint()) STRATA_RETURN_IF_ERROR(Fill(dialect, path + ".constraint", w->mutable_constraint()));
  return absl::OkStatus();
}

absl::Status CheckBlock(const std::string& path, const std::set<std::string>& constants,
                        const google::protobuf::Value& v) {
  using V = google::protobuf::Value;
  if (v.kind_case() == V::kStringValue && !v.string_value().empty() && v.string_value()[0] == '=') {
    return CheckExpression(path, v.string_value().substr(1), constants);
  }
  for (int i = 0; i < v.list_value().values_size(); ++i) {
    STRATA_RETURN_IF_ERROR(CheckBlock(absl::StrCat(path, "[", i, "]"), constants, v.list_value().values(i)));
  }
  for (const auto& [name, item] : v.struct_value().fields()) {
    STRATA_RETURN_IF_ERROR(CheckBlock(absl::StrCat(path, ".", name), constants, item));
  }
  return absl::OkStatus();
}

absl::Status CheckBody(const std::string& path, const std::set<std::string>& constants, std::set<std::string> names,
                       const v1::CustomComponent& d) {
  if (d.kind() == v1::CustomComponent::BLOCK) {
    if (!d.body().empty()) return InvalidArgument(path, ".body: must be empty for a BLOCK, got text");
    if (!d.has_block()) return InvalidArgument(path, ".block: must be set, got nothing");
    if (d.block().ByteSizeLong() > kMaxBlockBytes) {
      return InvalidArgument(path, ".block: must have at most ", kMaxBlockBytes, " bytes, got ",
                             d.block().ByteSizeLong());
    }
    google::protobuf::Value whole;
    *whole.mutable_struct_value() = d.block();
    return CheckBlock(path + ".block", constants, whole);
  }
  if (d.has_block()) return InvalidArgument(path, ".block: must be set for a BLOCK only, got one");
  names.insert("training");
  const auto program = expr::Parse(d.body());
  if (!program.ok()) return InText(path + ".body", program.status());
  STRATA_RETURN_IF_ERROR(InText(path + ".body", expr::Check(*program, std::move(names))));
  const int results = static_cast<int>(program->statements.back().values.size());
  const int states = d.states_size();
  if (d.kind() == v1::CustomComponent::LOSS && results != 1) {
    return InvalidArgument(path, ".body: a LOSS must have one result, got ", results);
  }
  if (d.kind() == v1::CustomComponent::METRIC && results > 2) {
    return InvalidArgument(path, ".body: a METRIC must have one result or two, got ", results);
  }
  if (d.kind() == v1::CustomComponent::CELL && results != states + 1) {
    return InvalidArgument(path, ".body: a CELL must have its output and ", states, " new states as results, got ",
                           results);
  }
  if (d.kind() == v1::CustomComponent::LAYER && results <= states) {
    return InvalidArgument(path, ".body: a LAYER must have outputs and ", states, " new states as results, got ",
                           results);
  }
  return absl::OkStatus();
}

}  // namespace

bool TargetFirst(v1::Dialect dialect, const v1::CustomComponent& d) {
  return d.has_target_first() ? d.target_first() : dialect == v1::KERAS;
}

std::vector<std::string> InputNames(v1::Dialect dialect, const v1::CustomComponent& d) {
  if (!d.inputs().empty()) return {d.inputs().begin(), d.inputs().end()};
  const bool pair = d.kind() == v1::CustomComponent::LOSS || d.kind() == v1::CustomComponent::METRIC;
  if (!pair) return {"x"};
  return TargetFirst(dialect, d) ? std::vector<std::string>{"y_true", "y_pred"}
                                 : std::vector<std::string>{"y_pred", "y_true"};
}

absl::Status CompleteDefinition(v1::Dialect dialect, const std::string& path, v1::CustomComponent* d) {
  using Kind = v1::CustomComponent;
  if (!IsIdentifier(d->name())) {
    return InvalidArgument(path, ".name: must be a letter, then letters, digits and underscores, got \"", d->name(),
                           "\"");
  }
  if (d->version().empty()) d->set_version("1");
  if (d->version().size() > kMaxNameBytes) {
    return InvalidArgument(path, ".version: must have at most ", kMaxNameBytes, " bytes, got ", d->version().size());
  }
  if (d->kind() < Kind::LAYER || d->kind() > Kind::BLOCK) {
    return InvalidArgument(path, ".kind: must be LAYER, CELL, LOSS, METRIC or BLOCK, got ",
                           static_cast<int>(d->kind()));
  }
  STRATA_RETURN_IF_ERROR(CheckCount(path + ".hyperparameters", d->hyperparameters()));
  STRATA_RETURN_IF_ERROR(CheckCount(path + ".inputs", d->inputs()));
  STRATA_RETURN_IF_ERROR(CheckCount(path + ".weights", d->weights()));
  STRATA_RETURN_IF_ERROR(CheckCount(path + ".states", d->states()));
  const bool layer = d->kind() == Kind::LAYER || d->kind() == Kind::CELL;
  if (!layer && d->kind() != Kind::LOSS && d->weights_size() > 0) {
    return InvalidArgument(path, ".weights: belong to a LAYER, CELL or LOSS, got ", Kind::Kind_Name(d->kind()));
  }
  if (!layer && d->states_size() > 0) {
    return InvalidArgument(path, ".states: belong to a LAYER or CELL, got ", Kind::Kind_Name(d->kind()));
  }
  DeclaredNames names;
  for (int i = 0; i < d->hyperparameters_size(); ++i) {
    const v1::Hyperparameter& h = d->hyperparameters(i);
    const std::string at = absl::StrCat(path, ".hyperparameters[", i, "]");
    STRATA_RETURN_IF_ERROR(names.Add(at + ".name", h.name()));
    if (!v1::Hyperparameter::Type_IsValid(h.type())) {
      return InvalidArgument(at, ".type: must be a value of Type, got ", static_cast<int>(h.type()));
    }
    STRATA_RETURN_IF_ERROR(CheckRangeItself(at, h));
    if (!h.has_default_()) continue;
    STRATA_RETURN_IF_ERROR(CheckHyperparameter(at + ".default", h.type(), h.default_()));
    STRATA_RETURN_IF_ERROR(CheckRangeOf(at + ".default", h, h.default_()));
  }
  const std::set<std::string> constants = names.all();
  for (const std::string& input : InputNames(dialect, *d)) STRATA_RETURN_IF_ERROR(names.Add(path + ".inputs", input));
  std::set<std::string> outer = names.all();
  // A loss' weights are there before its target is.
  if (const auto inputs = InputNames(dialect, *d); d->kind() == Kind::LOSS) {
    outer.erase(TargetFirst(dialect, *d) ? inputs.front() : inputs.back());
  }
  for (int i = 0; i < d->states_size(); ++i) {
    const std::string at = absl::StrCat(path, ".states[", i, "]");
    STRATA_RETURN_IF_ERROR(names.Add(at + ".name", d->states(i).name()));
    STRATA_RETURN_IF_ERROR(
        CheckExpression(at + ".shape", d->states(i).shape(), d->kind() == Kind::CELL ? constants : outer));
  }
  for (int i = 0; i < d->weights_size(); ++i) {
    const std::string at = absl::StrCat(path, ".weights[", i, "]");
    STRATA_RETURN_IF_ERROR(names.Add(at + ".name", d->weights(i).name()));
    STRATA_RETURN_IF_ERROR(CompleteWeight(dialect, at, constants, outer, d->mutable_weights(i)));
  }
  return CheckBody(path, constants, names.all(), *d);
}

absl::Status CompleteDefinitions(v1::Dialect dialect, const std::string& path, Definitions* definitions) {
  if (definitions->size() > kMaxDefinitions) {
    return InvalidArgument(path, ": must be at most ", kMaxDefinitions, ", got ", definitions->size());
  }
  std::set<std::pair<std::string, std::string>> seen;
  for (int i = 0; i < definitions->size(); ++i) {
    const std::string at = absl::StrCat(path, "[", i, "]");
    v1::CustomComponent* d = definitions->Mutable(i);
    STRATA_RETURN_IF_ERROR(CompleteDefinition(dialect, at, d));
    if (!seen.emplace(d->name(), d->version()).second) {
      return InvalidArgument(at, ".name: must be unique with its version, got \"", d->name(), "\" twice");
    }
  }
  return absl::OkStatus();
}

}  // namespace strata::nn
