// Initializers as text: "normal(0, 0.05)", "uniform(-k, k)", "glorot_uniform()".
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/expr/functions.h"
#include "engine/expr/lexer.h"
#include "engine/expr/parser.h"
#include "engine/nn/custom/custom.h"
#include "engine/nn/schema.h"

namespace strata::nn {
namespace {

using Scaling = v1::VarianceScalingInitializer;

// Arguments that are left out stay at the dialect's defaults.
struct Kind {
  expr::Function arguments;  // only its name and parameters
  void (*set)(const std::vector<const double*>& a, v1::Initializer* out);
};

template <int kScale, Scaling::Fan kFan, Scaling::Distribution kDistribution>
void Scaled(const std::vector<const double*>&, v1::Initializer* out) {
  Scaling* v = out->mutable_variance_scaling();
  v->set_scale(kScale);
  v->set_mode(kFan);
  v->set_distribution(kDistribution);
}
template <Scaling::Distribution kDistribution>
void Kaiming(const std::vector<const double*>& a, v1::Initializer* out) {
  const double slope = a[0] == nullptr ? 0 : *a[0];
  Scaling* v = out->mutable_variance_scaling();
  v->set_scale(2 / (1 + slope * slope));
  v->set_mode(Scaling::FAN_IN);
  v->set_distribution(kDistribution);
}
void Zeros(const std::vector<const double*>&, v1::Initializer* out) { out->mutable_zeros(); }
void Ones(const std::vector<const double*>&, v1::Initializer* out) { out->mutable_ones(); }
void ConstantOf(const std::vector<const double*>& a, v1::Initializer* out) {
  out->mutable_constant()->set_value(*a[0]);
}
void UniformOf(const std::vector<const double*>& a, v1::Initializer* out) {
  auto* u = out->mutable_uniform();
  if (a[0] != nullptr) u->set_low(*a[0]);
  if (a[1] != nullptr) u->set_high(*a[1]);
}
void NormalOf(const std::vector<const double*>& a, v1::Initializer* out) {
  auto* n = out->mutable_normal();
  if (a[0] != nullptr) n->set_mean(*a[0]);
  if (a[1] != nullptr) n->set_stddev(*a[1]);
}
void TruncatedOf(const std::vector<const double*>& a, v1::Initializer* out) {
  auto* n = out->mutable_truncated_normal();
  if (a[0] != nullptr) n->set_mean(*a[0]);
  if (a[1] != nullptr) n->set_stddev(*a[1]);
}
void OrthogonalOf(const std::vector<const double*>& a, v1::Initializer* out) {
  auto* o = out->mutable_orthogonal();
  if (a[0] != nullptr) o->set_gain(*a[0]);
}
void IdentityOf(const std::vector<const double*>&, v1::Initializer* out) { out->mutable_identity(); }

constexpr char kUniform[] = "low|minval|a? high|maxval|b?";
constexpr char kNormal[] = "mean? stddev|std?";

constexpr Kind kKinds[] = {
    {{"zeros", "", nullptr}, Zeros},
    {{"ones", "", nullptr}, Ones},
    {{"constant", "value", nullptr}, ConstantOf},
    {{"uniform", kUniform, nullptr}, UniformOf},
    {{"random_uniform", kUniform, nullptr}, UniformOf},
    {{"normal", kNormal, nullptr}, NormalOf},
    {{"random_normal", kNormal, nullptr}, NormalOf},
    {{"truncated_normal", kNormal, nullptr}, TruncatedOf},
    {{"glorot_uniform", "", nullptr}, Scaled<1, Scaling::FAN_AVG, Scaling::UNIFORM>},
    {{"glorot_normal", "", nullptr}, Scaled<1, Scaling::FAN_AVG, Scaling::TRUNCATED_NORMAL>},
    {{"xavier_uniform", "", nullptr}, Scaled<1, Scaling::FAN_AVG, Scaling::UNIFORM>},
    {{"xavier_normal", "", nullptr}, Scaled<1, Scaling::FAN_AVG, Scaling::NORMAL>},
    {{"he_uniform", "", nullptr}, Scaled<2, Scaling::FAN_IN, Scaling::UNIFORM>},
    {{"he_normal", "", nullptr}, Scaled<2, Scaling::FAN_IN, Scaling::TRUNCATED_NORMAL>},
    {{"lecun_uniform", "", nullptr}, Scaled<1, Scaling::FAN_IN, Scaling::UNIFORM>},
    {{"lecun_normal", "", nullptr}, Scaled<1, Scaling::FAN_IN, Scaling::TRUNCATED_NORMAL>},
    {{"kaiming_uniform", "a?", nullptr}, Kaiming<Scaling::UNIFORM>},
    {{"kaiming_normal", "a?", nullptr}, Kaiming<Scaling::NORMAL>},
    {{"orthogonal", "gain?", nullptr}, OrthogonalOf},
    {{"identity", "", nullptr}, IdentityOf},
};

const Kind* FindKind(const std::string& name) {
  for (const Kind& k : kKinds) {
    if (name == k.arguments.name) return &k;
  }
  return nullptr;
}

absl::Status NoKind(expr::Place place, const std::string& name) {
  return expr::ErrorAt(place, "must be an initializer (zeros(), normal(0, 0.05), ...), got \"", name, "\"");
}

}  // namespace

absl::Status CheckInitializer(const std::string& text, const std::set<std::string>& names) {
  STRATA_ASSIGN_OR_RETURN(const expr::Node node, expr::ParseExpression(text));
  if (node.kind != expr::Node::Kind::kCall) return expr::Check(node, names);
  const Kind* kind = FindKind(node.text);
  if (kind == nullptr) return NoKind(node.place, node.text);
  STRATA_RETURN_IF_ERROR(expr::MatchArguments(kind->arguments, node).status());
  for (const expr::Node& child : node.children) STRATA_RETURN_IF_ERROR(expr::Check(child, names));
  return absl::OkStatus();
}

absl::StatusOr<v1::Initializer> InitializerFrom(v1::Dialect dialect, const std::string& text,
                                                expr::Evaluator& evaluator) {
  STRATA_ASSIGN_OR_RETURN(expr::Node node, expr::ParseExpression(text));
  if (node.kind != expr::Node::Kind::kCall) {
    // A hyper-parameter that holds the initializer's name.
    STRATA_ASSIGN_OR_RETURN(const expr::Object name, evaluator.Evaluate(node));
    if (name.text() == nullptr) return NoKind(node.place, expr::Describe(name));
    node.children.clear();
    node.keywords.clear();
    node.text = *name.text();
  }
  const Kind* kind = FindKind(node.text);
  if (kind == nullptr) return NoKind(node.place, node.text);
  STRATA_ASSIGN_OR_RETURN(const std::vector<int> from, expr::MatchArguments(kind->arguments, node));
  std::vector<double> numbers(from.size());
  std::vector<const double*> arguments(from.size(), nullptr);
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] < 0) continue;
    const expr::Node& child = node.children[from[i]];
    STRATA_ASSIGN_OR_RETURN(const expr::Object value, evaluator.Evaluate(child));
    if (value.number() == nullptr) return expr::ErrorAt(child.place, "must be a number, got ", expr::Describe(value));
    numbers[i] = value.number()->AsDouble();
    arguments[i] = &numbers[i];
  }
  v1::Initializer out;
  kind->set(arguments, &out);
  STRATA_RETURN_IF_ERROR(Fill(dialect, "initializer", &out));
  return out;
}

}  // namespace strata::nn
