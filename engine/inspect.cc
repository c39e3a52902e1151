#include "engine/inspect.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/philox.h"
#include "engine/base/status.h"
#include "engine/compile.h"
#include "engine/features.h"
#include "engine/graph/flops.h"
#include "engine/nn/build.h"
#include "engine/nn/complete.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/losses/loss.h"
#include "engine/ops/ops.h"
#include "engine/staged.h"
#include "engine/train/progress.h"
#include "engine/train/step.h"
#include "engine/train/targets.h"

namespace strata {
namespace {

Shape InputShape(const v1::Input& input, int64_t batch, int64_t free) {
  Shape shape;
  if (!input.has_batched() || input.batched()) shape.push_back(input.has_batch_size() ? input.batch_size() : batch);
  for (int64_t d : input.shape()) shape.push_back(d == -1 ? free : d);
  return shape;
}

absl::Status CheckLimits(const nn::Collected& collected) {
  int64_t total = 0;
  for (const nn::ParamSpec& p : collected.params) {
    total += NumElements(p.shape);
    if (total > ModelLimits().max_parameters) {
      return absl::ResourceExhaustedError(
          absl::StrCat("model: has more than ", ModelLimits().max_parameters, " parameters (at ", p.name, ")"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Probe> ProbeModel(const v1::Model& model, int64_t batch, int64_t free, bool training) {
  Probe probe;
  std::vector<nn::Annotated> inputs;
  for (int i = 0; i < model.inputs_size(); ++i) {
    const v1::Input& input = model.inputs(i);
    const DType dtype = ElementType(input.dtype());
    Shape shape = InputShape(input, batch, free);
    int64_t count = 0;
    if (!CheckedNumElements(shape, &count)) {
      return InvalidArgument("inputs[", i, "].shape: must have fewer elements, got ", ShapeString(shape));
    }
    probe.inputs.push_back({input.name(), dtype, shape});
    inputs.push_back(probe.graph.AddInput(input.name(), dtype, std::move(shape)));
  }
  const Value random_state = training ? probe.graph.AddInput("random", DType::kI64, {2}) : Value{};
  nn::Scope scope(&probe.graph, model.dialect(), training, random_state, &probe.collected);
  const nn::Outputs outputs = nn::BuildModel(scope, model, inputs);
  STRATA_RETURN_IF_ERROR(probe.graph.status());
  STRATA_RETURN_IF_ERROR(CheckLimits(probe.collected));
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::string& name = model.outputs(static_cast<int>(i)).name();
    probe.outputs.push_back({name, outputs[i].value.dtype(), outputs[i].value.shape()});
    probe.graph.MarkOutput(name, outputs[i].value);
  }
  return probe;
}

absl::StatusOr<Ports> PortsOf(const v1::Model& model) {
  Ports ports;
  // Free axes need a size that the model's windows fit into.
  constexpr int64_t kSizes[] = {32, 7, 224, 1};
  absl::StatusOr<Probe> base = absl::InternalError("no probe");
  absl::Status first;
  for (int64_t size : kSizes) {
    base = ProbeModel(model, 2, size, false);
    ports.free = size;
    if (base.ok()) break;
    if (first.ok()) first = base.status();
  }
  if (!base.ok()) return first;
  bool any_free = false;
  for (const v1::Input& input : model.inputs()) {
    PortSpec port{input.name(), ElementType(input.dtype()), {}};
    if (!input.has_batched() || input.batched()) port.shape.push_back(input.has_batch_size() ? input.batch_size() : -1);
    for (int64_t d : input.shape()) {
      port.shape.push_back(d);
      any_free |= d == -1;
    }
    ports.inputs.push_back(std::move(port));
    if (input.has_batched() && !input.batched()) ports.rows_independent = false;
  }
  ports.outputs = base->outputs;
  const auto mark = [&](const absl::StatusOr<Probe>& other) {
    if (!other.ok()) return;
    for (size_t i = 0; i < ports.outputs.size(); ++i) {
      Shape& shape = ports.outputs[i].shape;
      for (size_t d = 0; d < shape.size() && shape.size() == other->outputs[i].shape.size(); ++d) {
        if (base->outputs[i].shape[d] != other->outputs[i].shape[d]) shape[d] = -1;
      }
    }
  };
  mark(ProbeModel(model, 3, ports.free, false));
  if (any_free) mark(ProbeModel(model, 2, ports.free * 2, false));
  for (const PortSpec& o : ports.outputs) ports.rows_independent &= !o.shape.empty() && o.shape[0] == -1;
  ports.rows_independent &= !base->collected.rows_mixed && base->collected.updates.empty();
  ports.params = std::move(base->collected.params);
  return ports;
}

absl::StatusOr<std::vector<nn::ParamSpec>> ObjectiveParams(const v1::Model& model, const v1::TrainingConfig& config,
                                                           const Ports& ports) {
  const auto owns = [](const v1::Objective& o) { return nn::OwnsWeights(o.loss()); };
  if (std::none_of(config.objectives().begin(), config.objectives().end(), owns)) {
    return std::vector<nn::ParamSpec>();
  }
  STRATA_ASSIGN_OR_RETURN(Probe probe, ProbeModel(model, 2, ports.free, false));
  nn::Collected collected;
  const nn::Scope root(&probe.graph, model.dialect(), true, {}, &collected);
  const auto output = [&](const std::string& name, size_t index) -> Value {
    for (size_t k = 0; k < probe.outputs.size(); ++k) {
      const bool mine = name.empty() ? k == std::min(index, probe.outputs.size() - 1) : probe.outputs[k].name == name;
      if (mine) return probe.graph.value(probe.graph.outputs()[k].value);
    }
    return {};
  };
  for (int i = 0; i < config.objectives_size(); ++i) {
    const v1::Objective& o = config.objectives(i);
    const std::string path = absl::StrCat("objectives[", i, "]");
    const Value prediction = output(o.output(), static_cast<size_t>(i));
    std::vector<nn::Annotated> more;
    for (const std::string& name : o.more_outputs()) more.push_back(output(name, 0));
    if (!prediction || std::any_of(more.begin(), more.end(), [](const nn::Annotated& v) { return !v.value; })) {
      return InvalidArgument(path, ".output|more_outputs: must name outputs of the model, got \"", o.output(), "\"");
    }
    nn::Scope scope = nn::ScopeOfObjective(root, o.loss(), i);
    nn::DeclareWeights(scope, o.loss(), prediction, more);
    if (!probe.graph.ok()) probe.graph.PrefixError(absl::StrCat(path, ".loss: "));
    STRATA_RETURN_IF_ERROR(probe.graph.status());
  }
  for (const nn::ParamSpec& p : collected.params) {
    const auto same = [&](const nn::ParamSpec& other) { return other.name == p.name; };
    if (std::any_of(ports.params.begin(), ports.params.end(), same)) {
      return InvalidArgument("objectives: have a weight ", p.name, ", which must be no name in the model, got two");
    }
  }
  return std::move(collected.params);
}

absl::StatusOr<NamedTensors> InitialWeights(const v1::Model& model, uint64_t seed) {
  STRATA_ASSIGN_OR_RETURN(const Ports ports, PortsOf(model));
  NamedTensors weights;
  for (const nn::ParamSpec& p : ports.params) {
    if (p.buffer && p.dtype != DType::kF32) {
      weights[p.name] = Tensor(p.dtype, p.shape);
      continue;
    }
    STRATA_ASSIGN_OR_RETURN(Tensor t,
                            nn::Initialize(model.dialect(), p.initializer, p.shape, seed, StreamHash(p.stream)));
    if (p.adjust) p.adjust(&t);
    weights[p.name] = std::move(t);
  }
  return weights;
}

namespace {

absl::StatusOr<ModelFacts> InspectComplete(const v1::Model& complete, const v1::TrainingConfig* given_config,
                                           int64_t batch_size) {
  STRATA_ASSIGN_OR_RETURN(const FeatureStage stage, FeatureStage::Create(complete));
  const v1::Model& model = stage.model();
  STRATA_ASSIGN_OR_RETURN(Ports ports, PortsOf(model));
  if (!stage.empty()) ports.inputs = RawPorts(complete);
  const int64_t batch = std::max<int64_t>(batch_size, 1);
  STRATA_ASSIGN_OR_RETURN(Probe probe, ProbeModel(model, batch, ports.free, false));
  v1::TrainingConfig config;
  if (given_config != nullptr) {
    STRATA_ASSIGN_OR_RETURN(config, CompleteConfig(model, *given_config));
    STRATA_ASSIGN_OR_RETURN(std::vector<nn::ParamSpec> own, ObjectiveParams(model, config, ports));
    std::move(own.begin(), own.end(), std::back_inserter(ports.params));
  }
  ModelFacts facts;
  facts.inputs = std::move(ports.inputs);
  facts.outputs = std::move(ports.outputs);
  std::vector<std::string> frozen;
  if (given_config != nullptr) frozen.assign(given_config->frozen().begin(), given_config->frozen().end());
  for (const nn::ParamSpec& p : ports.params) {
    const bool trainable = p.trainable && std::count(frozen.begin(), frozen.end(), p.name) == 0;
    facts.parameters.push_back({p.name, p.shape, trainable, p.buffer});
    const int64_t count = NumElements(p.shape);
    facts.num_parameters += count;
    facts.weight_bytes += count * static_cast<int64_t>(SizeOf(p.dtype));
    if (!trainable) continue;
    facts.num_trainable += count;
    facts.gradient_bytes += count * static_cast<int64_t>(SizeOf(p.dtype));
  }
  facts.flops = CountFlops(Prune(probe.graph));
  if (given_config == nullptr) {
    facts.gradient_bytes = 0;
    STRATA_ASSIGN_OR_RETURN(const std::unique_ptr<const Plan> plan, Compile(std::move(probe.graph), {}));
    facts.activation_bytes = plan->arena_bytes;
    return facts;
  }
  // Schedules and monitors, as a session makes them.
  STRATA_ASSIGN_OR_RETURN(const nn::OptimizerRule rule,
                          nn::MakeOptimizer(model.dialect(), config.optimizer(), /*decay=*/true));
  STRATA_RETURN_IF_ERROR(Progress::Create(model.dialect(), config, rule.learning_rate).status());
  const LikelyBatch likely = GuessBatch(model, config, probe.inputs, probe.outputs, batch);
  absl::StatusOr<TrainStep> built = BuildTrainStep(model, config, likely.signature);
  // Whether a component of the user's own fits is known with the first batch.
  const bool targets = absl::StartsWith(built.status().message(), "objectives[") ||
                       absl::StartsWith(built.status().message(), "metrics[");
  if (!built.ok() && !likely.certain && targets) return facts;
  STRATA_RETURN_IF_ERROR(built.status());
  for (const SlotSpec& slot : built->slots) facts.optimizer_bytes += NumElements(slot.shape) * 4;
  STRATA_ASSIGN_OR_RETURN(const std::unique_ptr<const Plan> plan, Compile(std::move(built->graph), {}));
  facts.activation_bytes = plan->arena_bytes;
  return facts;
}

}  // namespace

absl::StatusOr<ModelFacts> Inspect(const v1::Model& given, const v1::TrainingConfig* config, int64_t batch_size) {
  nn::CallMoves moves;
  STRATA_ASSIGN_OR_RETURN(const v1::Model complete, nn::Complete(given, &moves));
  auto facts = InspectComplete(complete, config, batch_size);
  if (!facts.ok()) return nn::WithGivenCalls(moves, facts.status());
  return facts;
}

}  // namespace strata
