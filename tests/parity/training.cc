// Kind `training`: the engine's own training sessions, with reference kernels and as served.
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/framework.h"
#include "engine/nn/complete.h"
#include "engine/nn/schema.h"
#include "engine/ops/reference.h"
#include "engine/session.h"
#include "tests/parity/custom.h"
#include "tests/parity/facts.h"
#include "tests/parity/forward.h"

namespace strata::parity {
namespace {

bool Keras(const Case& c) { return c.dialect == v1::KERAS; }

const Json& Part(const Case& c, const char* name) {
  static const Json& null = *new Json();
  const auto it = c.component.find(name);
  return it == c.component.end() ? null : *it;
}

// Names that the runner understands in `component`.
absl::Status CheckParts(const Case& c) {
  for (const auto& [key, value] : c.component.items()) {
    if (Keras(c) && (key == "loss_weights" || key == "weighted_metrics")) continue;
    if (key != "scheduler" && key != "model" && key != "loss" && key != "optimizer" && key != "metrics" &&
        key != "regularizers" && key != "clip") {
      return InvalidArgument("component.", key, ": unknown member");
    }
  }
  return absl::OkStatus();
}

absl::Status AddPenalties(const Case& c, v1::TrainingConfig* config) {
  for (const Json& r : Part(c, "regularizers")) {
    const std::string name = r.value("class_name", std::string());
    v1::ParameterPenalty* penalty = config->add_penalties();
    penalty->add_exclude("bias");
    if (name == "seed.L1Loss") {
      penalty->set_l1(r["config"].value("beta", 1e-3));
    } else if (name == "seed.L2Loss") {
      penalty->set_l2(r["config"].value("alpha", 1e-3));
    } else {
      return absl::UnimplementedError(absl::StrCat("regularizers: no component for pytorch ", name));
    }
  }
  return absl::OkStatus();
}

// The tensors of an output: the only one's have no name.
std::string OfOutput(const v1::Model& model, const char* what, const std::string& output) {
  return model.outputs_size() > 1 ? absl::StrCat(what, "_", output) : what;
}

void AddClassWeights(const Case& c, v1::TrainingConfig* config) {
  const Json class_weight = c.call.value("class_weight", Json::object());
  for (const auto& [key, value] : class_weight.items()) {
    v1::ClassWeight* weight = config->add_class_weights();
    weight->set_class_(std::stoll(key));
    weight->set_weight(value.get<double>());
  }
}

// compile()'s arguments for several outputs, or with weighted metrics: as files hold them.
absl::StatusOr<v1::TrainingConfig> CompiledConfig(const Case& c, const v1::Model& model) {
  Json json = {{"loss", Part(c, "loss")}, {"metrics", Part(c, "metrics")}, {"loss_weights", Part(c, "loss_weights")}};
  STRATA_ASSIGN_OR_RETURN(const v1::TrainingConfig plain,
                          ImportKerasTraining(model, json.dump(), CustomObjects(c.dialect)));
  json["weighted_metrics"] = Part(c, "weighted_metrics");
  STRATA_ASSIGN_OR_RETURN(v1::TrainingConfig config, ImportKerasTraining(model, json.dump(), CustomObjects(c.dialect)));
  STRATA_ASSIGN_OR_RETURN(*config.mutable_optimizer(), ImportOptimizer(c.dialect, c.Text(Part(c, "optimizer"))));
  const auto weight_of = [&](const std::string& output) {
    const std::string name = OfOutput(model, "sample_weight", output);
    const bool given = c.Find("input." + name) != nullptr || c.Find("input." + name + ".0") != nullptr;
    return given ? name : std::string();
  };
  const std::string only = model.outputs(0).name();
  for (v1::Objective& o : *config.mutable_objectives()) {
    const std::string output = o.output().empty() ? only : o.output();
    o.set_target(OfOutput(model, "y", output));
    o.set_sample_weight(weight_of(output));
  }
  for (int i = 0; i < config.metrics_size(); ++i) {
    v1::NamedMetric& m = *config.mutable_metrics(i);
    const std::string output = m.output().empty() ? only : m.output();
    m.set_target(OfOutput(model, "y", output));
    if (i >= plain.metrics_size()) m.set_sample_weight(weight_of(output));
  }
  AddClassWeights(c, &config);
  return config;
}

absl::StatusOr<v1::TrainingConfig> ConfigOf(const Case& c, const v1::Model& model) {
  STRATA_RETURN_IF_ERROR(CheckParts(c));
  if (model.outputs_size() > 1 || c.component.contains("weighted_metrics")) return CompiledConfig(c, model);
  v1::TrainingConfig config;
  v1::Objective* objective = config.add_objectives();
  STRATA_ASSIGN_OR_RETURN(*objective->mutable_loss(),
                          ImportLoss(c.dialect, c.Text(Part(c, "loss")), CustomObjects(c.dialect)));
  objective->mutable_loss()->set_function_form(false);  // compile() wraps a function in a mean
  if (c.Find("input.sample_weight.0") != nullptr) objective->set_sample_weight("sample_weight");
  STRATA_ASSIGN_OR_RETURN(*config.mutable_optimizer(), ImportOptimizer(c.dialect, c.Text(Part(c, "optimizer"))));
  if (!Part(c, "scheduler").is_null()) {
    // One step after every pass over the batches.
    STRATA_ASSIGN_OR_RETURN(*config.mutable_optimizer()->mutable_schedule(),
                            ImportSchedule(c.dialect, c.Text(Part(c, "scheduler"))));
    config.mutable_optimizer()->mutable_schedule()->set_interval(v1::Schedule::EPOCH);
    int64_t batches = 0;
    while (c.Find(absl::StrCat("input.y.", batches)) != nullptr) ++batches;
    config.set_steps_per_epoch(batches);
  }
  for (const Json& metric : Part(c, "metrics")) {
    v1::NamedMetric* named = config.add_metrics();
    STRATA_ASSIGN_OR_RETURN(*named->mutable_metric(),
                            ImportMetric(c.dialect, c.Text(metric), CustomObjects(c.dialect)));
  }
  STRATA_RETURN_IF_ERROR(AddPenalties(c, &config));
  if (!Part(c, "clip").is_null()) {
    STRATA_ASSIGN_OR_RETURN(*config.mutable_optimizer()->mutable_clipping(), ImportClipping(c.Text(Part(c, "clip"))));
  }
  for (const Json& group : c.call.value("groups", Json::array())) {
    STRATA_ASSIGN_OR_RETURN(*config.mutable_optimizer()->add_groups(),
                            ImportParameterGroup(config.optimizer(), group.dump()));
  }
  for (const Json& name : c.call.value("exclude_from_weight_decay", Json::array())) {
    config.mutable_optimizer()->add_exclude_from_weight_decay(name.get<std::string>());
  }
  for (const Json& name : c.call.value("frozen", Json::array())) config.add_frozen(name.get<std::string>());
  AddClassWeights(c, &config);
  return config;
}

// Tensors of a batch by the names that the session expects: rows [begin, end) of `x<suffix>`, `y<suffix>`, ...
struct Batches {
  const Case& c;
  const v1::Model& model;
  const v1::TrainingConfig& config;

  absl::StatusOr<NamedViews> Rows(const std::string& prefix, const std::string& suffix, int64_t begin,
                                  int64_t end) const {
    NamedViews batch;
    for (const v1::Input& input : model.inputs()) {
      const std::string many = absl::StrCat("input.", prefix, "x_", input.name(), suffix);
      const std::string one = absl::StrCat("input.", prefix, "x", suffix);
      STRATA_RETURN_IF_ERROR(Add(input.name(), model.inputs_size() > 1 ? many : one, begin, end, &batch));
    }
    for (const v1::Objective& o : config.objectives()) {
      STRATA_RETURN_IF_ERROR(AddTarget(o.target(), o.sample_weight(), prefix, suffix, begin, end, &batch));
    }
    for (const v1::NamedMetric& m : config.metrics()) {
      if (m.target().empty()) continue;  // the objective's
      STRATA_RETURN_IF_ERROR(AddTarget(m.target(), m.sample_weight(), prefix, suffix, begin, end, &batch));
    }
    return batch;
  }

  // Of the first target.
  int64_t NumTargets(const std::string& prefix, const std::string& suffix) const {
    const std::string& target = config.objectives(0).target();
    return NumRows(absl::StrCat("input.", prefix, target.empty() ? "y" : target, suffix));
  }

  int64_t NumRows(const std::string& name) const {
    const Tensor* t = c.Find(name);
    return t == nullptr || t->shape().empty() ? 0 : t->dim(0);
  }

 private:
  absl::Status AddTarget(const std::string& target, const std::string& weight, const std::string& prefix,
                         const std::string& suffix, int64_t begin, int64_t end, NamedViews* batch) const {
    const std::string name = target.empty() ? "y" : target;
    STRATA_RETURN_IF_ERROR(
        Add(target.empty() ? "target" : target, absl::StrCat("input.", prefix, name, suffix), begin, end, batch));
    if (weight.empty()) return absl::OkStatus();
    if (prefix.empty()) return Add(weight, absl::StrCat("input.", weight, suffix), begin, end, batch);
    // Validation weighs all samples alike.
    static const auto& ones = *new std::vector<float>(1 << 16, 1);
    const int64_t rows = batch->begin()->second.shape[0];
    if (rows > static_cast<int64_t>(ones.size())) return InvalidArgument("input.val_x: must be smaller, got ", rows);
    (*batch)[weight] = {DType::kF32, {rows}, ones.data()};
    return absl::OkStatus();
  }

  // `end` < 0: all rows.
  absl::Status Add(const std::string& name, const std::string& tensor, int64_t begin, int64_t end,
                   NamedViews* batch) const {
    const Tensor* t = c.Find(tensor);
    if (t == nullptr) return InvalidArgument(tensor, ": the case has no such tensor");
    TensorView view = t->view();
    if (end >= 0) {
      const size_t row = view.size_bytes() / static_cast<size_t>(view.shape[0]);
      view.shape[0] = end - begin;
      view.data = static_cast<const char*>(view.data) + static_cast<size_t>(begin) * row;
    }
    (*batch)[name] = view;
    return absl::OkStatus();
  }
};

// Values that a training leaves behind, by the names of the case's outputs.
using Curves = std::map<std::string, std::vector<double>>;

void Record(const Case& c, const StepOutcome& step, Curves* curves) {
  (*curves)["loss"].push_back(step.loss);
  for (const auto& [name, value] : step.metrics) (*curves)[Keras(c) ? name : "metric"].push_back(value);
}

absl::Status TrainSteps(const Case& c, const Batches& batches, TrainSession* session, Curves* curves) {
  int64_t count = 0;
  while (batches.NumTargets("", absl::StrCat(".", count)) > 0) ++count;
  if (count == 0) return InvalidArgument("inputs: the case has no batch");
  const auto resets = c.call.value("reset_states", std::vector<int64_t>());  // steps before which states are reset
  for (int64_t k = 0; k < c.call["steps"].get<int64_t>(); ++k) {
    STRATA_ASSIGN_OR_RETURN(const NamedViews batch, batches.Rows("", absl::StrCat(".", k % count), 0, -1));
    const bool reset = std::find(resets.begin(), resets.end(), k) != resets.end();
    STRATA_ASSIGN_OR_RETURN(const StepOutcome step, session->Step(batch, {.reset_states = reset}));
    Record(c, step, curves);
  }
  if (!c.call.value("evaluate", false)) return absl::OkStatus();
  STRATA_ASSIGN_OR_RETURN(const NamedViews first, batches.Rows("", ".0", 0, -1));
  STRATA_ASSIGN_OR_RETURN(const EvalOutcome eval, session->Evaluate(first, true));
  (*curves)["evaluate.loss"] = {eval.loss};
  for (const auto& [name, value] : eval.metrics) (*curves)["evaluate." + name] = {value};
  return absl::OkStatus();
}

// PyTorch's loops: batches are given one by one; an epoch's numbers are means over its batches.
absl::Status PytorchEpochs(const Case& c, const Batches& batches, TrainSession* session, Curves* curves) {
  for (int64_t epoch = 0; epoch < c.call["epochs"].get<int64_t>(); ++epoch) {
    Curves of_epoch;
    for (int64_t k = 0; batches.NumRows(absl::StrCat("input.y.", k)) > 0; ++k) {
      STRATA_ASSIGN_OR_RETURN(const NamedViews batch, batches.Rows("", absl::StrCat(".", k), 0, -1));
      STRATA_ASSIGN_OR_RETURN(const StepOutcome step, session->Step(batch));
      Record(c, step, curves);
      Record(c, step, &of_epoch);
    }
    for (int64_t k = 0; batches.NumRows(absl::StrCat("input.val_y.", k)) > 0; ++k) {
      STRATA_ASSIGN_OR_RETURN(const NamedViews batch, batches.Rows("val_", absl::StrCat(".", k), 0, -1));
      STRATA_ASSIGN_OR_RETURN(const EvalOutcome eval, session->Evaluate(batch, true));
      of_epoch["val loss"].push_back(eval.loss);
      for (const auto& [name, value] : eval.metrics) of_epoch["val metric"].push_back(value);
    }
    for (const auto& [name, values] : of_epoch) {
      double mean = 0;
      for (double v : values) mean += v / static_cast<double>(values.size());
      const bool val = name.rfind("val ", 0) == 0;
      (*curves)[val ? "val_" + name.substr(4) : "epoch_" + name].push_back(mean);
    }
  }
  return absl::OkStatus();
}

// Keras' fit: batches in order; an epoch's numbers are the session's own.
absl::Status KerasEpochs(const Case& c, const Batches& batches, TrainSession* session, Curves* curves) {
  const int64_t size = c.call["batch_size"], rows = batches.NumTargets("", ""),
                val_rows = batches.NumTargets("val_", "");
  for (int64_t epoch = 0; epoch < c.call["epochs"].get<int64_t>(); ++epoch) {
    StepOutcome step;
    for (int64_t begin = 0; begin < rows; begin += size) {
      const int64_t end = std::min(begin + size, rows);
      STRATA_ASSIGN_OR_RETURN(const NamedViews batch, batches.Rows("", "", begin, end));
      STRATA_ASSIGN_OR_RETURN(step, session->Step(batch, {.end_of_epoch = end == rows}));
    }
    (*curves)["history.loss"].push_back(step.epoch.loss);
    for (const auto& [name, value] : step.epoch.metrics) (*curves)["history." + name].push_back(value);
    EvalOutcome eval;
    for (int64_t begin = 0; begin < val_rows; begin += size) {
      STRATA_ASSIGN_OR_RETURN(const NamedViews batch,
                              batches.Rows("val_", "", begin, std::min(begin + size, val_rows)));
      STRATA_ASSIGN_OR_RETURN(eval, session->Evaluate(batch, begin == 0));
    }
    if (val_rows == 0) continue;
    session->EndEvaluation("validation", eval);
    (*curves)["history.val_loss"].push_back(eval.loss);
    for (const auto& [name, value] : eval.metrics) (*curves)["history.val_" + name].push_back(value);
  }
  return absl::OkStatus();
}

absl::Status RunOne(const Case& c, const v1::Model& model, const v1::TrainingConfig& config, bool reference,
                    Result* result) {
  const std::string way = reference ? "double" : "engine";
  STRATA_ASSIGN_OR_RETURN(const auto session, TrainSession::Create(model, config, {.reference = reference}));
  NamedTensors weights;
  for (const auto& [name, tensor] : c.tensors) {
    for (const char* prefix : {"param.", "state."}) {
      if (name.rfind(prefix, 0) == 0) weights[name.substr(6)] = tensor.Clone();
    }
  }
  STRATA_RETURN_IF_ERROR(session->SetWeights(weights, /*strict=*/true));
  const Batches batches{c, model, config};
  Curves curves;
  if (!c.call.contains("epochs")) {
    STRATA_RETURN_IF_ERROR(TrainSteps(c, batches, session.get(), &curves));
  } else if (Keras(c)) {
    STRATA_RETURN_IF_ERROR(KerasEpochs(c, batches, session.get(), &curves));
  } else {
    STRATA_RETURN_IF_ERROR(PytorchEpochs(c, batches, session.get(), &curves));
  }
  for (const std::string& name : c.outputs) {
    const auto it = curves.find(name);
    if (it == curves.end()) return InvalidArgument("output.", name, ": the training leaves no such values");
    const Tensor* want = c.Find("output." + name);
    const Shape shape =
        want != nullptr && want->shape().empty() ? Shape{} : Shape{static_cast<int64_t>(it->second.size())};
    result->CompareTo(c, way, {shape, it->second}, "output." + name);
  }
  // Keras' fit ends with the moving average of the weights, if there is one.
  const bool averaged = Keras(c) && c.call.contains("epochs") && config.optimizer().has_moving_average();
  int64_t step = 0;
  STRATA_ASSIGN_OR_RETURN(const NamedTensors after,
                          session->WeightsOf(averaged ? WeightSet::kAveraged : WeightSet::kPresent, &step));
  for (const auto& [name, want] : c.tensors) {
    if (name.rfind("after.", 0) != 0) continue;
    const auto it = after.find(name.substr(6));
    if (it == after.end()) return InvalidArgument(name, ": the engine has no such variable");
    result->Compare(c, way + " " + name, ToRef(it->second.view()), want);
  }
  return absl::OkStatus();
}

}  // namespace

Result RunTraining(const Case& c) {
  Result result;
  std::vector<std::string> names;
  if (!Keras(c)) names = {"x.0"};
  auto imported = ModelOf(c, Part(c, "model"), names);
  result.Take("import", imported.status());
  if (!imported.ok()) return result;
  const auto model = Complete(*imported);
  result.Take("complete", model.status());
  if (!model.ok()) return result;
  const auto config = ConfigOf(c, *model);
  result.Take("import", config.status());
  if (!config.ok()) return result;
  for (const bool reference : {true, false}) {
    result.Take(reference ? "double" : "engine", RunOne(c, *model, *config, reference, &result));
    if (!result.passed()) return result;
  }
  return result;
}

}  // namespace strata::parity
