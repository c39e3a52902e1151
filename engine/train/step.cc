#include "engine/train/step.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/autodiff/gradients.h"
#include "engine/base/status.h"
#include "engine/nn/custom/custom.h"
#include "engine/nn/losses/loss.h"
#include "engine/nn/optimizers/optimizer.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"

namespace strata {
namespace {

struct Variable {
  Value value;
  int32_t index = -1;
};

Variable AddSlot(TrainStep* step, const nn::ParamSpec& param, const std::string& slot, double start,
                 const std::string& copy_of) {
  const std::string name = SlotName(param.name, slot);
  const Value v = step->graph.AddVariable({name, DType::kF32, param.shape, VariableInfo::Kind::kSlot, false});
  step->slots.push_back({name, param.shape, start, copy_of});
  return {v, step->graph.producer(v.id).as<VariableAttrs>().index};
}

std::vector<Value> AddScalars(TrainStep* step,
                              std::function<std::vector<double>(const nn::UpdateNumbers& numbers)> values,
                              double learning_rate, int count) {
  std::vector<Value> scalars;
  for (int i = 0; i < count; ++i) {
    scalars.push_back(step->graph.AddInput(absl::StrCat("scalar:", step->scalars.size(), ".", i), DType::kF32, {}));
  }
  step->scalars.push_back({std::move(values), learning_rate, scalars.size()});
  return scalars;
}

// Adds this step's gradients, times its rows, to those that wait. kApply: returns the mean over the rows of all, and
// nothing waits any more.
std::vector<Value> Accumulate(TrainStep* step, StepRole role, const std::vector<const nn::ParamSpec*>& params,
                              std::vector<Value> gradients) {
  std::vector<Value> per_row;
  if (role == StepRole::kApply) {
    per_row = AddScalars(
        step, [](const nn::UpdateNumbers& n) { return std::vector<double>{1 / static_cast<double>(n.samples)}; }, 0, 1);
  }
  for (size_t i = 0; i < params.size(); ++i) {
    const Variable waiting = AddSlot(step, *params[i], kAccumulatorSlot, 0, "");
    const Value sum = waiting.value + gradients[i] * static_cast<double>(step->samples);
    step->graph.Assign(waiting.index, role == StepRole::kApply ? Full(&step->graph, 0, params[i]->shape) : sum);
    if (role == StepRole::kApply) gradients[i] = sum * per_row[0];
  }
  return gradients;
}

// The optimizer's part of a step: which parameter follows which rule, and the update of each.
class Updater {
 public:
  Updater(const v1::Model& model, const v1::TrainingConfig& config, TrainStep* step)
      : model_(model), config_(config), step_(step) {}

  absl::Status Update(const std::vector<const nn::ParamSpec*>& params, const std::vector<Value>& gradients) {
    for (size_t i = 0; i < params.size(); ++i) STRATA_RETURN_IF_ERROR(UpdateOne(*params[i], gradients[i]));
    return absl::OkStatus();
  }

 private:
  struct Set {
    nn::OptimizerRule rule;
    std::vector<Value> scalars;
  };

  // The group that names the parameter, or -1.
  int GroupOf(const std::string& name) const {
    for (int i = 0; i < config_.optimizer().groups_size(); ++i) {
      for (const std::string& p : config_.optimizer().groups(i).parameters()) {
        if (p == name) return i;
      }
    }
    return -1;
  }

  // The parameter's place in the optimizer's nadam_product, or -1.
  int TurnOf(const std::string& name) const {
    const auto& weights = config_.optimizer().nadam_product().weights();
    const auto it = std::find(weights.begin(), weights.end(), name);
    return it == weights.end() ? -1 : static_cast<int>(it - weights.begin());
  }

  absl::StatusOr<const Set*> SetOf(const std::string& name) {
    const int group = GroupOf(name);
    const bool decay = !nn::Matches(name, config_.optimizer().exclude_from_weight_decay());
    const int turn = TurnOf(name);
    const auto key = std::make_tuple(group, decay, turn);
    if (const auto it = sets_.find(key); it != sets_.end()) return &it->second;
    v1::Optimizer definition = config_.optimizer();
    double rate = -1;
    if (group >= 0) {
      const v1::ParameterGroup& g = config_.optimizer().groups(group);
      if (g.has_options()) definition.MergeFrom(g.options());
      if (g.has_weight_decay()) definition.set_weight_decay(g.weight_decay());
      if (g.has_learning_rate()) rate = g.learning_rate();
    }
    Set set;
    STRATA_ASSIGN_OR_RETURN(set.rule, nn::MakeOptimizer(model_.dialect(), definition, decay));
    if (rate >= 0) set.rule.learning_rate = rate;
    if (turn >= 0) {
      set.rule.scalars = [own = set.rule.scalars, turn](nn::UpdateNumbers n) {
        n.turn = turn;
        return own(n);
      };
    }
    set.scalars = AddScalars(step_, set.rule.scalars, set.rule.learning_rate, set.rule.num_scalars);
    return &(sets_[key] = std::move(set));
  }

  absl::Status UpdateOne(const nn::ParamSpec& param, Value gradient) {
    STRATA_ASSIGN_OR_RETURN(const Set* set, SetOf(param.name));
    Graph& g = step_->graph;
    std::vector<Value> slots;
    std::vector<int32_t> variables;
    for (const nn::OptimizerRule::Slot& slot : set->rule.slots) {
      const Variable v = AddSlot(step_, param, slot.name, slot.start, slot.copies_weight ? param.name : "");
      slots.push_back(v.value);
      variables.push_back(v.index);
    }
    const int32_t index = g.producer(param.value.id).as<VariableAttrs>().index;
    Value w = param.value;
    for (nn::StateUpdate& u : step_->collected.updates) {
      if (u.variable == index) w = u.next;  // the forward pass changed the parameter itself (max_norm)
    }
    Value next = set->rule.update(w, gradient, std::span(slots), set->scalars);
    if (param.constraint.kind_case() != v1::Constraint::KIND_NOT_SET) next = nn::Project(param.constraint, next);
    for (size_t i = 0; i < slots.size(); ++i) g.Assign(variables[i], slots[i]);
    g.Assign(index, next);
    updated_.push_back(index);
    return g.status();
  }

 public:
  bool Updated(int32_t variable) const {
    return std::find(updated_.begin(), updated_.end(), variable) != updated_.end();
  }

 private:
  const v1::Model& model_;
  const v1::TrainingConfig& config_;
  TrainStep* step_;
  std::map<std::tuple<int, bool, int>, Set> sets_;
  std::vector<int32_t> updated_;
};

absl::Status CheckNames(const v1::TrainingConfig& config, const nn::Collected& collected) {
  const auto exists = [&](const std::string& name) {
    for (const nn::ParamSpec& p : collected.params) {
      if (p.name == name && !p.buffer) return true;
    }
    return false;
  };
  for (int i = 0; i < config.frozen_size(); ++i) {
    if (!exists(config.frozen(i)))
      return InvalidArgument("frozen[", i, "]: must name a parameter, got \"", config.frozen(i), "\"");
  }
  const auto& turns = config.optimizer().nadam_product().weights();
  for (int i = 0; i < turns.size(); ++i) {
    if (!exists(turns[i])) {
      return InvalidArgument("optimizer.nadam_product.weights[", i, "]: must name a parameter, got \"", turns[i], "\"");
    }
  }
  for (int i = 0; i < config.optimizer().groups_size(); ++i) {
    const v1::ParameterGroup& group = config.optimizer().groups(i);
    for (int k = 0; k < group.parameters_size(); ++k) {
      if (exists(group.parameters(k))) continue;
      return InvalidArgument("optimizer.groups[", i, "].parameters[", k, "]: must name a parameter, got \"",
                             group.parameters(k), "\"");
    }
  }
  return absl::OkStatus();
}

// Outputs by name, before anything is built on them.
absl::Status CheckOutputs(const v1::Model& model, const v1::TrainingConfig& config) {
  for (int i = 0; i < config.objectives_size(); ++i) {
    const v1::Objective& o = config.objectives(i);
    const std::string path = absl::StrCat("objectives[", i, "]");
    STRATA_RETURN_IF_ERROR(FindOutput(path + ".output", model, o.output(), i).status());
    for (int k = 0; k < o.more_outputs_size(); ++k) {
      const std::string at = absl::StrCat(path, ".more_outputs[", k, "]");
      STRATA_RETURN_IF_ERROR(FindOutput(at, model, o.more_outputs(k), std::nullopt).status());
    }
  }
  for (int i = 0; i < config.metrics_size(); ++i) {
    const std::string output = PlaceOf(config.metrics(i), config).output;
    STRATA_RETURN_IF_ERROR(FindOutput(absl::StrCat("metrics[", i, "].output"), model, output, 0).status());
  }
  return absl::OkStatus();
}

}  // namespace

std::string SlotName(const std::string& parameter, const std::string& slot) {
  return absl::StrCat("optimizer:", parameter, "/", slot);
}

absl::StatusOr<v1::TrainingConfig> CompleteConfig(const v1::Model& model, const v1::TrainingConfig& given) {
  v1::TrainingConfig config = given;
  const v1::Dialect dialect = model.dialect();
  STRATA_RETURN_IF_ERROR(nn::CompleteDefinitions(dialect, "custom_components", config.mutable_custom_components()));
  for (const nn::Definitions* list : {&given.custom_components(), &model.custom_components()}) {
    STRATA_RETURN_IF_ERROR(nn::Resolve(*list, &config));
  }
  if (config.objectives().empty()) return InvalidArgument("objectives: must not be empty, got none");
  for (int i = 0; i < config.objectives_size(); ++i) {
    STRATA_RETURN_IF_ERROR(
        nn::Fill(dialect, absl::StrCat("objectives[", i, "].loss"), config.mutable_objectives(i)->mutable_loss()));
    const int further = nn::FurtherPredictions(config.objectives(i).loss());
    if (further >= 0 && config.objectives(i).more_outputs_size() != further) {
      return InvalidArgument("objectives[", i, "].more_outputs: must name the ", further,
                             " further outputs that the loss compares, got ", config.objectives(i).more_outputs_size());
    }
    for (const auto& [argument, tensor] : config.objectives(i).arguments()) {
      const std::vector<std::string> known = nn::ArgumentsOf(config.objectives(i).loss());
      if (std::find(known.begin(), known.end(), argument) == known.end()) {
        return InvalidArgument("objectives[", i, "].arguments[\"", argument, "\"]: must be ",
                               known.empty() ? "absent: the loss takes no further argument"
                                             : absl::StrCat("one of ", absl::StrJoin(known, ", ")),
                               ", got \"", argument, "\"");
      }
    }
  }
  STRATA_RETURN_IF_ERROR(CheckOutputs(model, config));
  for (int i = 0; i < config.metrics_size(); ++i) {
    STRATA_RETURN_IF_ERROR(
        nn::Fill(dialect, absl::StrCat("metrics[", i, "].metric"), config.mutable_metrics(i)->mutable_metric()));
  }
  STRATA_RETURN_IF_ERROR(nn::Fill(dialect, "optimizer", config.mutable_optimizer()));
  if (config.has_early_stopping()) {
    STRATA_RETURN_IF_ERROR(nn::Fill(dialect, "early_stopping", config.mutable_early_stopping()));
  }
  if (config.has_keep_best()) STRATA_RETURN_IF_ERROR(nn::Fill(dialect, "keep_best", config.mutable_keep_best()));
  if (config.accumulate_steps() < 0) {
    return InvalidArgument("accumulate_steps: must be >= 0, got ", config.accumulate_steps());
  }
  if (config.steps_per_epoch() < 0) {
    return InvalidArgument("steps_per_epoch: must be >= 0, got ", config.steps_per_epoch());
  }
  for (int i = 0; i < config.class_weights_size(); ++i) {
    const v1::ClassWeight& w = config.class_weights(i);
    if (w.class_() < 0 || w.class_() > 1000000) {
      return InvalidArgument("class_weights[", i, "].class: must be between 0 and 1000000, got ", w.class_());
    }
  }
  return config;
}

absl::StatusOr<TrainStep> BuildTrainStep(const v1::Model& model, const v1::TrainingConfig& config,
                                         const Signature& batch, StepRole role) {
  TrainStep step;
  Graph& g = step.graph;
  ForwardBuilder builder(model, config, &g, &step.collected);
  STRATA_RETURN_IF_ERROR(builder.AddBatch(batch));
  const Value random_state = g.AddInput("random", DType::kI64, {2});
  const Forward f = builder.Build(true, random_state);
  STRATA_RETURN_IF_ERROR(g.status());
  STRATA_RETURN_IF_ERROR(CheckNames(config, step.collected));
  step.samples = f.samples;

  std::vector<const nn::ParamSpec*> params;
  std::vector<Value> wrt;
  for (const nn::ParamSpec& p : step.collected.params) {
    if (!p.trainable || std::count(config.frozen().begin(), config.frozen().end(), p.name) > 0) continue;
    params.push_back(&p);
    wrt.push_back(p.value);
  }
  if (config.recompute_scans()) {
    for (size_t n = 0; n < g.nodes().size(); ++n) {
      if (g.nodes()[n].op == Op::kScan)
        std::get<ScanAttrs>(g.mutable_node(static_cast<NodeId>(n)).attrs).recompute = true;
    }
  }
  std::vector<Value> gradients = Gradients(f.loss, wrt);
  STRATA_RETURN_IF_ERROR(g.status());
  // A parameter that the loss does not depend on has no gradient and is not updated.
  for (size_t i = gradients.size(); i-- > 0;) {
    if (gradients[i]) continue;
    gradients.erase(gradients.begin() + static_cast<int64_t>(i));
    params.erase(params.begin() + static_cast<int64_t>(i));
  }
  if (role != StepRole::kWhole) gradients = Accumulate(&step, role, params, std::move(gradients));
  const nn::Clipped clipped = nn::Clip(model.dialect(), config.optimizer().clipping(), gradients);
  const Value norm = clipped.norm ? clipped.norm : Scalar(&g, 0);
  g.MarkOutput("loss", f.loss);
  g.MarkOutput("penalty", f.penalty ? f.penalty : Scalar(&g, 0));
  g.MarkOutput("gradient_norm", norm);
  step.metrics = builder.AddMetrics(f);
  Value commit;
  if (config.non_finite() != v1::APPLY) commit = And(Unary(Op::kIsFinite, f.loss), Unary(Op::kIsFinite, norm));
  step.requirements = builder.AddRequirements();
  for (const nn::Requirement& r : step.collected.requirements) {
    const Value holds = LessEqual(r.violations, Like(r.violations, 0));
    commit = commit ? And(commit, holds) : holds;
  }
  if (commit) g.MarkOutput("commit", commit);
  Updater updater(model, config, &step);
  if (role != StepRole::kAccumulate) STRATA_RETURN_IF_ERROR(updater.Update(params, clipped.gradients));
  for (const nn::StateUpdate& u : step.collected.updates) {
    if (!updater.Updated(u.variable)) g.Assign(u.variable, u.next);
  }
  STRATA_RETURN_IF_ERROR(g.status());
  return step;
}

absl::StatusOr<EvaluateStep> BuildEvaluateStep(const v1::Model& model, const v1::TrainingConfig& config,
                                               const Signature& batch) {
  EvaluateStep step;
  Graph& g = step.graph;
  ForwardBuilder builder(model, config, &g, &step.collected);
  STRATA_RETURN_IF_ERROR(builder.AddBatch(batch));
  const Forward f = builder.Build(false, {});
  STRATA_RETURN_IF_ERROR(g.status());
  step.samples = f.samples;
  g.MarkOutput("loss", f.loss);
  g.MarkOutput("penalty", f.penalty ? f.penalty : Scalar(&g, 0));
  step.metrics = builder.AddMetrics(f);
  step.requirements = builder.AddRequirements();
  STRATA_RETURN_IF_ERROR(g.status());
  return step;
}

}  // namespace strata
