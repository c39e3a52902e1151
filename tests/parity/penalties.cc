// Kinds `regularizer` and `constraint`.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/autodiff/gradients.h"
#include "engine/base/status.h"
#include "engine/import/framework.h"
#include "engine/nn/schema.h"
#include "engine/nn/scope.h"
#include "engine/ops/ops.h"
#include "tests/parity/forward.h"

namespace strata::parity {
namespace {

// Penalties over a model's parameters by name, biases left out (the article's own functions, in PyTorch).
absl::StatusOr<v1::Regularizer> SeedPenalty(const Case& c) {
  const std::string name = c.component.is_object() ? c.component.value("class_name", std::string()) : "";
  const Json config = c.component.is_object() ? c.component.value("config", Json::object()) : Json::object();
  v1::Regularizer r;
  if (name == "seed.L1Loss") {
    r.set_l1(config.value("beta", 1e-3));
  } else if (name == "seed.L2Loss") {
    r.set_l2(config.value("alpha", 1e-3) / 2);
  } else {
    return absl::UnimplementedError(absl::StrCat("class_name: no component for pytorch ", name));
  }
  return r;
}

}  // namespace

Result RunRegularizer(const Case& c) {
  Result result;
  const auto regularizer = c.dialect == v1::KERAS ? ImportRegularizer(c.ComponentText()) : SeedPenalty(c);
  result.Take("import", regularizer.status());
  if (!regularizer.ok()) return result;
  Graph g;
  Value penalty;
  std::vector<Value> wrt;
  std::vector<std::string> names;
  for (const auto& [name, tensor] : c.tensors) {
    const bool input = absl::StartsWith(name, "input."), param = absl::StartsWith(name, "param.");
    if (!input && !param) continue;
    const Value w = g.AddInput(name, DType::kF32, tensor.shape());
    wrt.push_back(w);
    names.push_back(name);
    if (param && absl::StrContains(name, "bias")) continue;
    const Value term = nn::Penalty(*regularizer, w);
    penalty = penalty ? penalty + term : term;
  }
  if (!penalty) penalty = Scalar(&g, 0);
  const Value cotangent = g.AddInput("cotangent.penalty", DType::kF32, {});
  g.MarkOutput("output.penalty", penalty);
  const Value outputs[] = {penalty}, cotangents[] = {cotangent};
  const std::vector<Value> gradients = Gradients(outputs, cotangents, wrt);
  for (size_t i = 0; i < wrt.size() && g.ok(); ++i) {
    if (c.Find("grad." + names[i]) == nullptr) continue;
    g.MarkOutput("grad." + names[i], gradients[i] ? gradients[i] : Full(&g, 0, wrt[i].shape()));
  }
  result.Take("build", g.status());
  if (!result.passed()) return result;
  const Tensor one = Tensor::Scalar(1);
  for (const Way& way : Ways()) {
    const auto values = way.run(
        g,
        [&](const std::string& name) {
          const Tensor* t = c.Find(name);
          return t == nullptr && name == "cotangent.penalty" ? &one : t;
        },
        CaseVariables(c));
    result.Take(way.name, values.status());
    if (!values.ok()) return result;
    for (const auto& [name, value] : values->outputs) result.CompareTo(c, way.name, value, name);
  }
  return result;
}

Result RunConstraint(const Case& c) {
  Result result;
  const auto constraint = ImportConstraint(c.ComponentText());
  result.Take("import", constraint.status());
  if (!constraint.ok()) return result;
  Graph g;
  const Tensor* w = c.Find("input.w");
  if (w == nullptr) {
    result.Fail("input.w: the case has no such tensor");
    return result;
  }
  const Value projected = nn::Project(*constraint, g.AddInput("input.w", DType::kF32, w->shape()));
  if (g.ok()) g.MarkOutput("output.w", projected);
  result.Take("build", g.status());
  if (!result.passed()) return result;
  for (const Way& way : Ways()) {
    const auto values = way.run(g, CaseInputs(c, nullptr), CaseVariables(c));
    result.Take(way.name, values.status());
    if (!values.ok()) return result;
    result.CompareTo(c, way.name, values->outputs.at("output.w"), "output.w");
  }
  return result;
}

}  // namespace strata::parity
