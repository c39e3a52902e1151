#include "tests/parity/forward.h"

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/autodiff/gradients.h"
#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/reference.h"

namespace strata::parity {
namespace {

DType GraphType(DType file) { return IsFloat(file) ? DType::kF32 : file; }

}  // namespace

Value CaseGraph::Input(const std::string& name) {
  if (const auto it = inputs_.find(name); it != inputs_.end()) return it->second;
  const Tensor* t = case_.Find("input." + name);
  if (t == nullptr) {
    graph_.Fail(absl::NotFoundError(absl::StrCat("input.", name, ": the case has no such tensor")));
    return {&graph_, -1};
  }
  return inputs_[name] = graph_.AddInput("input." + name, GraphType(t->dtype()), t->shape());
}

nn::Scope CaseGraph::MakeScope(bool training) {
  const Value random = training ? graph_.AddInput(kRandomState, DType::kI64, {2}) : Value{};
  return nn::Scope(&graph_, case_.dialect, training, random, &collected_);
}

Value CaseGraph::Wrt(const std::string& name) const {
  if (const auto it = inputs_.find(name); it != inputs_.end()) return it->second;
  for (const nn::ParamSpec& p : collected_.params) {
    if (p.name == name) return p.value;
  }
  return {};
}

void CaseGraph::Finish(const std::vector<Value>& outputs) {
  if (!graph_.ok()) return;
  // Predictions in batches are compared apart.
  std::vector<std::string> names;
  for (const std::string& name : case_.outputs) {
    if (!absl::StartsWith(name, "predict.")) names.push_back(name);
  }
  if (outputs.size() != names.size()) {
    graph_.Fail(InvalidArgument("outputs: the case lists ", names.size(), ", the engine makes ", outputs.size()));
    return;
  }
  std::vector<Value> pulled, cotangents, wrt;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i]) {
      graph_.Fail(InvalidArgument("output.", names[i], ": the engine makes no such output"));
      return;
    }
    graph_.MarkOutput("output." + names[i], outputs[i]);
    const std::string cotangent = "cotangent." + names[i];
    if (const Tensor* t = case_.Find(cotangent); t != nullptr) {
      if (t->shape() != outputs[i].shape()) {
        graph_.Fail(InvalidArgument("output.", names[i], ": shape is ", ShapeString(outputs[i].shape()), ", wanted ",
                                    ShapeString(t->shape())));
        return;
      }
      pulled.push_back(outputs[i]);
      cotangents.push_back(graph_.AddInput(cotangent, DType::kF32, t->shape()));
    }
  }
  for (const std::string& name : case_.grads) {
    wrt.push_back(Wrt(name));
    if (!wrt.back()) {
      graph_.Fail(InvalidArgument("grads: the engine has no input or parameter ", name));
      return;
    }
  }
  const std::vector<Value> gradients = Gradients(pulled, cotangents, wrt);
  for (size_t i = 0; i < wrt.size() && graph_.ok(); ++i) {
    const Value g = gradients[i] ? gradients[i] : Full(&graph_, 0, wrt[i].shape());
    graph_.MarkOutput(absl::StrCat(inputs_.count(case_.grads[i]) ? "grad.input." : "grad.param.", case_.grads[i]), g);
  }
  for (const nn::StateUpdate& u : collected_.updates) graph_.Assign(u.variable, u.next);
}

Feed CaseInputs(const Case& c, const Tensor* random_state) {
  return [&c, random_state](const std::string& name) { return name == kRandomState ? random_state : c.Find(name); };
}

Feed CaseVariables(const Case& c) {
  return [&c](const std::string& name) {
    const Tensor* t = c.Find("param." + name);
    return t != nullptr ? t : c.Find("state." + name);
  };
}

Tensor RandomState(int64_t seed, int64_t step) { return Tensor::Of<int64_t>(DType::kI64, {2}, {seed, step}); }

void CheckParameters(const Case& c, const nn::Collected& collected, Result* result) {
  std::set<std::string> given(c.params.begin(), c.params.end()), states(c.state.begin(), c.state.end());
  for (const nn::ParamSpec& p : collected.params) {
    auto& list = p.buffer ? states : given;
    // Keras' moving statistics may be listed as parameters, since they are weights that no gradient reaches.
    if (list.erase(p.name) == 0 && given.erase(p.name) + states.erase(p.name) == 0) {
      result->Fail(absl::StrCat(p.buffer ? "state: " : "params: ", "the engine has ", p.name, ", the case has not"));
    }
  }
  for (const std::string& name : given) result->Fail(absl::StrCat("params: the engine has no ", name));
  for (const std::string& name : c.inputs) states.erase(name);
  for (const std::string& name : states) result->Fail(absl::StrCat("state: the engine has no ", name));
}

void RunAndCompare(const Case& c, CaseGraph& built, Result* result) {
  if (!built.graph()->ok()) {
    result->Take("build", built.graph()->status());
    return;
  }
  // PyTorch's losses keep their class weights as buffers; here they are constants of the definition.
  if (c.kind != "loss") CheckParameters(c, built.collected(), result);
  if (!result->passed()) return;
  const Tensor random = RandomState(1, 1);
  for (const Way& way : Ways()) {
    const auto values = way.run(*built.graph(), CaseInputs(c, &random), CaseVariables(c));
    if (!values.ok()) {
      result->Take(way.name, values.status());
      return;
    }
    for (const auto& [name, value] : values->outputs) result->CompareTo(c, way.name, value, name);
    for (const auto& [name, want] : c.tensors) {
      if (!absl::StartsWith(name, "after.") || c.kind == "loss") continue;
      const std::string variable = name.substr(6);
      // A buffer of the framework's object that is an argument here comes out as it went in.
      if (const Tensor* given = c.Find("input." + variable); given != nullptr) {
        result->Compare(c, name, ToRef(given->view()), want);
        continue;
      }
      const auto it = values->variables.find(variable);
      if (it == values->variables.end()) {
        result->Fail(absl::StrCat(name, ": the engine has no such variable"));
      } else {
        result->Compare(c, absl::StrCat(way.name, " ", name), it->second, want);
      }
    }
  }
}

}  // namespace strata::parity
