// Kinds `optimizer` and `clip`.
#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/framework.h"
#include "engine/nn/optimizers/optimizer.h"
#include "engine/nn/schedules/schedule.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"
#include "engine/ops/reference.h"
#include "tests/parity/forward.h"

namespace strata::parity {
namespace {

// A parameter with its rule and its slots, which live between steps.
struct Trained {
  std::string name;
  nn::OptimizerRule rule;
  double learning_rate = 0;
  int64_t steps = 0;   // that had a gradient
  NamedTensors state;  // "w" and one for each slot
};

// The optimizer of one parameter: its group's options over the common ones.
v1::Optimizer OptimizerOfParameter(const v1::Optimizer& all, const std::string& name) {
  v1::Optimizer own = all;
  for (const v1::ParameterGroup& group : all.groups()) {
    if (std::find(group.parameters().begin(), group.parameters().end(), name) == group.parameters().end()) continue;
    if (group.has_options()) own.MergeFrom(group.options());
    if (group.has_weight_decay()) own.set_weight_decay(group.weight_decay());
    if (!group.has_learning_rate()) break;
    const auto* kind = nn::KindOf(own);
    auto* options = own.GetReflection()->MutableMessage(&own, kind);
    const auto* rate = options->GetDescriptor()->FindFieldByName("learning_rate");
    options->GetReflection()->SetDouble(options, rate, group.learning_rate());
    break;
  }
  return own;
}

absl::StatusOr<v1::Optimizer> OptimizerOf(const Case& c) {
  STRATA_ASSIGN_OR_RETURN(v1::Optimizer optimizer, ImportOptimizer(c.dialect, c.ComponentText()));
  for (const Json& name : c.call.value("exclude_from_weight_decay", Json::array())) {
    optimizer.add_exclude_from_weight_decay(name.get<std::string>());
  }
  for (const Json& group : c.call.value("groups", Json::array())) {
    STRATA_ASSIGN_OR_RETURN(*optimizer.add_groups(), ImportParameterGroup(optimizer, group.dump()));
  }
  return optimizer;
}

absl::StatusOr<std::vector<Trained>> Start(const Case& c, const v1::Optimizer& optimizer) {
  std::vector<Trained> all;
  for (const std::string& name : c.params) {
    const v1::Optimizer own = OptimizerOfParameter(optimizer, name);
    Trained t;
    t.name = name;
    STRATA_ASSIGN_OR_RETURN(t.rule,
                            nn::MakeOptimizer(c.dialect, own, !nn::Matches(name, own.exclude_from_weight_decay())));
    t.learning_rate = t.rule.learning_rate;
    const Tensor* w = c.Find("param." + name);
    if (w == nullptr) return InvalidArgument("param.", name, ": the case has no such tensor");
    t.state["w"] = w->Clone();
    for (const auto& slot : t.rule.slots) {
      Tensor s(DType::kF32, w->shape());
      for (int64_t i = 0; i < s.num_elements(); ++i) s.Set(i, slot.copies_weight ? w->At(i) : slot.start);
      t.state[slot.name] = std::move(s);
    }
    all.push_back(std::move(t));
  }
  return all;
}

// Rates that change between steps: PyTorch lists all of them, Keras names the steps.
void SetRate(const Case& c, const nn::ScheduleRule* schedule, int k, std::vector<Trained>* all) {
  if (c.call.contains("lr")) {
    for (Trained& t : *all) t.learning_rate = c.call["lr"][k].get<double>();
  }
  if (schedule != nullptr) {
    for (Trained& t : *all) t.learning_rate = schedule->rate(t.rule.learning_rate, k);
  }
  const Json changes = c.call.value("set_learning_rate", Json::object());
  if (const auto it = changes.find(absl::StrCat(k)); it != changes.end()) {
    for (Trained& t : *all) t.learning_rate = it->get<double>();
  }
}

// One step of every parameter that has a gradient.
absl::Status Step(const Case& c, const v1::Optimizer& optimizer, int k, const Way& way, std::vector<Trained>* all) {
  Graph g;
  NamedTensors feed;
  std::vector<Value> gradients;
  std::vector<Trained*> moved;
  for (Trained& t : *all) {
    const std::string name = absl::StrCat("grad.", k, ".", t.name);
    const Tensor* gradient = c.Find("input." + name);
    if (gradient == nullptr) continue;
    gradients.push_back(g.AddInput(name, DType::kF32, gradient->shape()));
    feed[name] = gradient->Clone();
    moved.push_back(&t);
  }
  if (optimizer.has_clipping()) gradients = nn::Clip(c.dialect, optimizer.clipping(), gradients).gradients;
  for (size_t p = 0; p < moved.size(); ++p) {
    Trained& t = *moved[p];
    const auto variable = [&](const std::string& name) {
      const Tensor& now = t.state[name];
      return g.AddVariable({t.name + "/" + name, DType::kF32, now.shape(), VariableInfo::Kind::kSlot, true});
    };
    const Value w = variable("w");
    std::vector<Value> slots, scalars;
    for (const auto& slot : t.rule.slots) slots.push_back(variable(slot.name));
    const std::vector<double> numbers = t.rule.scalars({.t = ++t.steps, .learning_rate = t.learning_rate});
    for (size_t i = 0; i < numbers.size(); ++i) {
      const std::string name = absl::StrCat("scalar.", p, ".", i);
      scalars.push_back(g.AddInput(name, DType::kF32, {}));
      feed[name] = Tensor::Scalar(numbers[i]);
    }
    const Value next = t.rule.update(w, gradients[p], slots, scalars);
    if (!g.ok()) return g.status();
    g.Assign(g.FindVariable(t.name + "/w"), next);
    for (size_t i = 0; i < slots.size(); ++i) g.Assign(g.FindVariable(t.name + "/" + t.rule.slots[i].name), slots[i]);
  }
  if (moved.empty()) return absl::OkStatus();
  std::map<std::string, const Tensor*> variables;
  for (Trained* t : moved) {
    for (const auto& [name, tensor] : t->state) variables[t->name + "/" + name] = &tensor;
  }
  STRATA_ASSIGN_OR_RETURN(const GraphValues values, way.run(
                                                        g, [&](const std::string& name) { return &feed[name]; },
                                                        [&](const std::string& name) { return variables.at(name); }));
  for (Trained* t : moved) {
    for (auto& [name, tensor] : t->state) {
      const auto it = values.variables.find(t->name + "/" + name);
      // Between steps weights and slots are float32, as in a session.
      if (it != values.variables.end()) tensor = FromRef(it->second, DType::kF32);
    }
  }
  return absl::OkStatus();
}

}  // namespace

Result RunOptimizer(const Case& c) {
  Result result;
  const auto optimizer = OptimizerOf(c);
  result.Take("import", optimizer.status());
  if (!optimizer.ok()) return result;
  const int steps = c.call.value("steps", 0);
  std::optional<nn::ScheduleRule> schedule;
  if (optimizer->has_schedule()) {
    auto rule = nn::MakeSchedule(c.dialect, optimizer->schedule());
    result.Take("schedule", rule.status());
    if (!rule.ok()) return result;
    schedule = *std::move(rule);
  }
  for (const Way& way : Ways()) {
    auto all = Start(c, *optimizer);
    result.Take("start", all.status());
    if (!all.ok()) return result;
    for (int k = 0; k < steps; ++k) {
      SetRate(c, schedule.has_value() ? &*schedule : nullptr, k, &*all);
      result.Take(absl::StrCat(way.name, " step ", k), Step(c, *optimizer, k, way, &*all));
      if (!result.passed()) return result;
      for (const Trained& t : *all) {
        result.CompareTo(c, way.name, ToRef(t.state.at("w").view()), absl::StrCat("after.", k, ".", t.name));
      }
    }
    if (!c.call.value("finalize", false)) continue;
    // At the end the weights become their moving average, if there is one.
    for (const Trained& t : *all) {
      const auto average = t.state.find(nn::kAverageSlot);
      const Tensor& last = average == t.state.end() ? t.state.at("w") : average->second;
      result.CompareTo(c, way.name, ToRef(last.view()), "after.final." + t.name);
    }
  }
  result.Check(result.compared > 0, "call.steps: the case has no step");
  return result;
}

Result RunClip(const Case& c) {
  Result result;
  const auto clipping = ImportClipping(c.ComponentText());
  result.Take("import", clipping.status());
  if (!clipping.ok()) return result;
  Graph g;
  std::vector<Value> gradients;
  for (const std::string& name : c.inputs) {
    const Tensor* t = c.Find("input.grad." + name);
    if (t == nullptr) {
      result.Fail(absl::StrCat("input.grad.", name, ": the case has no such tensor"));
      return result;
    }
    gradients.push_back(g.AddInput("input.grad." + name, DType::kF32, t->shape()));
  }
  const nn::Clipped clipped = nn::Clip(c.dialect, *clipping, gradients);
  for (size_t i = 0; i < c.inputs.size() && g.ok(); ++i)
    g.MarkOutput("output.grad." + c.inputs[i], clipped.gradients[i]);
  if (g.ok() && c.Find("output.total_norm") != nullptr) g.MarkOutput("output.total_norm", clipped.norm);
  result.Take("build", g.status());
  if (!result.passed()) return result;
  for (const Way& way : Ways()) {
    const auto values = way.run(g, CaseInputs(c, nullptr), CaseVariables(c));
    result.Take(way.name, values.status());
    if (!values.ok()) return result;
    for (const auto& [name, value] : values->outputs) result.CompareTo(c, way.name, value, name);
  }
  return result;
}

}  // namespace strata::parity
