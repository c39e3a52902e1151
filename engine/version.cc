// Published weights: plans with the weights bound as constants, one pool of contexts for each signature.

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/checkpoint_names.h"
#include "engine/base/status.h"
#include "engine/compile.h"
#include "engine/exec/context.h"
#include "engine/inspect.h"
#include "engine/kernels/parallel.h"
#include "engine/nn/build.h"
#include "engine/ops/ops.h"
#include "engine/passes/passes.h"
#include "engine/session.h"
#include "engine/staged.h"
#include "engine/train/forward.h"

namespace strata {
namespace {

using Contexts = std::vector<std::unique_ptr<Context>>;  // one per part

// A compiled signature, with contexts that wait for a caller. Callers keep the entry alive while it runs.
struct Compiled {
  std::vector<RowPart> parts;
  std::vector<bool> batched;                  // by input: it is divided into the parts' rows
  std::vector<ValueInfo> outputs;             // of the whole batch
  std::vector<RequirementSpec> requirements;  // their outputs follow the model's
  bool profile = false;
  absl::Mutex mutex;
  std::vector<Contexts> idle ABSL_GUARDED_BY(mutex);

  const Graph& graph() const { return parts[0].plan->graph; }
  int64_t memory_bytes() const {
    int64_t bytes = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      const bool shared = i > 0 && parts[i].plan == parts[i - 1].plan;
      bytes += parts[i].plan->arena_bytes + (shared ? 0 : parts[i].plan->packed_bytes);
    }
    return bytes;
  }
  Contexts Take() {
    {
      absl::MutexLock lock(&mutex);
      if (!idle.empty()) {
        Contexts contexts = std::move(idle.back());
        idle.pop_back();
        return contexts;
      }
    }
    Contexts contexts;
    for (const RowPart& part : parts) {
      contexts.push_back(std::make_unique<Context>(part.plan.get(), std::vector<void*>()));
      if (profile) contexts.back()->StartProfile();
    }
    return contexts;
  }
  void Return(Contexts contexts) {
    absl::MutexLock lock(&mutex);
    idle.push_back(std::move(contexts));
  }
};

class VersionImpl : public Version {
 public:
  VersionImpl(v1::Model model, Ports ports, std::map<std::string, std::shared_ptr<const Tensor>> weights,
              const SessionOptions& options)
      : model_(std::move(model)),
        ports_(std::move(ports)),
        weights_(std::move(weights)),
        options_(options),
        cache_(options.plan_cache_bytes) {
    for (const auto& [name, t] : weights_) weight_bytes_ += static_cast<int64_t>(t->size_bytes());
  }

  absl::StatusOr<NamedTensors> Predict(const NamedViews& inputs) const override {
    STRATA_RETURN_IF_ERROR(Check(inputs));
    STRATA_ASSIGN_OR_RETURN(const std::shared_ptr<Compiled> compiled, CompiledFor(inputs));
    Contexts contexts = compiled->Take();
    std::vector<Tensor> aligned;
    std::vector<TensorView> views;
    for (const NamedValue& in : compiled->graph().inputs()) {
      views.push_back(inputs.at(in.name));
      if (reinterpret_cast<uintptr_t>(views.back().data) % alignof(double) == 0) continue;
      aligned.push_back(Tensor::CopyOf(views.back()));
      views.back().data = aligned.back().raw();
    }
    std::vector<Tensor> results;
    for (size_t i = 0; i < ports_.outputs.size(); ++i) {
      results.emplace_back(compiled->outputs[i].dtype, compiled->outputs[i].shape);
    }
    ParallelFor(options_.threads, static_cast<int64_t>(contexts.size()),
                [&](int64_t i, int) { RunPart(*compiled, i, contexts[i].get(), views, &results); });
    const absl::Status status = CheckRequirements(compiled->requirements, [&](size_t output) {
      float violations = 0;
      for (const auto& context : contexts) violations += *static_cast<const float*>(context->output(output));
      return violations;
    });
    if (options_.profile) {
      absl::MutexLock lock(&mutex_);
      profile_ = contexts[0]->Profile();
    }
    compiled->Return(std::move(contexts));
    if (!status.ok()) return status;
    NamedTensors out;
    for (size_t i = 0; i < results.size(); ++i) out[compiled->graph().outputs()[i].name] = std::move(results[i]);
    return out;
  }

  NamedViews weights() const override {
    NamedViews views;
    for (const auto& [name, t] : weights_) views[name] = t->view();
    return views;
  }
  const std::vector<PortSpec>& inputs() const override { return ports_.inputs; }
  const std::vector<PortSpec>& outputs() const override { return ports_.outputs; }
  bool rows_independent() const override { return ports_.rows_independent; }
  int64_t memory_bytes() const override {
    absl::MutexLock lock(&mutex_);
    return weight_bytes_ + cache_.bytes();
  }
  std::string Profile() const override {
    absl::MutexLock lock(&mutex_);
    return profile_;
  }

 private:
  // Runs one range of rows and copies what it made into its place.
  static void RunPart(const Compiled& compiled, int64_t i, Context* context, const std::vector<TensorView>& inputs,
                      std::vector<Tensor>* results) {
    const RowPart& part = compiled.parts[i];
    const auto row_bytes = [](const TensorView& v) { return static_cast<int64_t>(v.size_bytes()) / v.shape[0]; };
    std::vector<const void*> pointers;
    for (size_t k = 0; k < inputs.size(); ++k) {
      const int64_t offset = part.rows > 0 && compiled.batched[k] ? part.first_row * row_bytes(inputs[k]) : 0;
      pointers.push_back(static_cast<const char*>(inputs[k].data) + offset);
    }
    context->Run(pointers);
    for (size_t k = 0; k < results->size(); ++k) {
      Tensor& result = (*results)[k];
      const int64_t all = static_cast<int64_t>(result.size_bytes()), row = part.rows > 0 ? all / result.shape()[0] : 0;
      std::memcpy(static_cast<char*>(result.raw()) + part.first_row * row, context->output(k),
                  part.rows > 0 ? part.rows * row : all);
    }
  }

  absl::Status Check(const NamedViews& inputs) const {
    int64_t rows = -1;
    for (const v1::Input& input : model_.inputs()) {
      const std::string path = absl::StrCat("inputs[\"", input.name(), "\"]");
      const auto it = inputs.find(input.name());
      if (it == inputs.end()) return InvalidArgument(path, ": must be given, got nothing");
      STRATA_RETURN_IF_ERROR(CheckInput(path, input, {input.name(), it->second.dtype, it->second.shape}));
      if (input.has_batched() && !input.batched()) continue;
      if (rows >= 0 && it->second.shape[0] != rows) {
        return InvalidArgument(path, ".shape: must have ", rows, " rows like the other inputs, got ",
                               it->second.shape[0]);
      }
      rows = it->second.shape[0];
    }
    if (rows == 0) return InvalidArgument("inputs: must have at least one row, got 0");
    for (const auto& [name, view] : inputs) {
      bool known = false;
      for (const v1::Input& input : model_.inputs()) known |= input.name() == name;
      if (!known) return InvalidArgument("inputs[\"", name, "\"]: must be an input of the model, got \"", name, "\"");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::shared_ptr<Compiled>> CompiledFor(const NamedViews& inputs) const {
    const std::string key = SignatureKey(inputs);
    {
      absl::MutexLock lock(&mutex_);
      if (const auto* found = cache_.Find(key)) return *found;
    }
    Graph graph;
    nn::Collected collected;
    std::vector<nn::Annotated> arguments;
    for (const v1::Input& input : model_.inputs()) {
      const TensorView& view = inputs.at(input.name());
      const Value x = graph.AddInput(input.name(), view.dtype, view.shape);
      arguments.push_back(Cast(x, ElementType(input.dtype())));
    }
    nn::Scope scope(&graph, model_.dialect(), false, {}, &collected);
    const nn::Outputs outputs = nn::BuildModel(scope, model_, arguments);
    STRATA_RETURN_IF_ERROR(graph.status());
    for (size_t i = 0; i < outputs.size(); ++i)
      graph.MarkOutput(model_.outputs(static_cast<int>(i)).name(), outputs[i].value);
    auto compiled = std::make_shared<Compiled>();
    compiled->profile = options_.profile;
    compiled->requirements = MarkRequirements(collected, &graph);
    STRATA_ASSIGN_OR_RETURN(Graph bound, BindVariables(graph, weights_));
    for (const v1::Input& input : model_.inputs()) compiled->batched.push_back(!input.has_batched() || input.batched());
    for (const NamedValue& v : bound.outputs()) compiled->outputs.push_back(bound.info(v.value));
    STRATA_ASSIGN_OR_RETURN(compiled->parts,
                            CompileByRows(std::move(bound), compiled->batched, compiled->requirements.size(),
                                          {.threads = options_.threads, .reference = options_.reference}));
    absl::MutexLock lock(&mutex_);
    if (const auto* found = cache_.Find(key)) return *found;  // another caller was faster
    const int64_t bytes = compiled->memory_bytes();
    return *cache_.Add(key, std::move(compiled), bytes);
  }

  const v1::Model model_;
  const Ports ports_;
  const std::map<std::string, std::shared_ptr<const Tensor>> weights_;
  const SessionOptions options_;
  int64_t weight_bytes_ = 0;
  mutable std::string profile_ ABSL_GUARDED_BY(mutex_);
  mutable absl::Mutex mutex_;
  mutable PlanCache<std::shared_ptr<Compiled>> cache_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Version>> Version::Create(const v1::Model& model, const NamedTensors& weights,
                                                         const SessionOptions& options) {
  NamedTensors copy;
  for (const auto& [name, tensor] : weights) copy[name] = tensor.Clone();
  return Create(model, std::move(copy), options);
}

absl::StatusOr<std::unique_ptr<Version>> Version::Create(const v1::Model& given, NamedTensors&& weights,
                                                         const SessionOptions& options) {
  STRATA_ASSIGN_OR_RETURN(v1::Model model, Complete(given));
  STRATA_ASSIGN_OR_RETURN(FeatureStage stage, FeatureStage::Create(model));
  if (!stage.empty()) {
    STRATA_ASSIGN_OR_RETURN(auto inner, Create(stage.model(), std::move(weights), options));
    return MakeStagedVersion(model, std::move(stage), std::move(inner));
  }
  STRATA_ASSIGN_OR_RETURN(Ports ports, PortsOf(model));
  std::map<std::string, std::shared_ptr<const Tensor>> bound;
  for (const nn::ParamSpec& p : ports.params) {
    const auto it = weights.find(p.name);
    if (it == weights.end()) return InvalidArgument("weights.", p.name, ": must be given, got nothing");
    if (it->second.shape() != p.shape || it->second.dtype() != p.dtype) {
      return InvalidArgument("weights.", p.name, ": must be ", DTypeName(p.dtype), ShapeString(p.shape), ", got ",
                             DTypeName(it->second.dtype()), ShapeString(it->second.shape()));
    }
    bound[p.name] = std::make_shared<const Tensor>(std::move(it->second));
  }
  // No prediction reads them, but a training that begins with this version, or evaluates it, does.
  for (auto& [name, tensor] : weights) {
    if (checkpoint::IsOfLoss(name) && bound.count(name) == 0) {
      bound[name] = std::make_shared<const Tensor>(std::move(tensor));
    }
  }
  return std::make_unique<VersionImpl>(std::move(model), std::move(ports), std::move(bound), options);
}

}  // namespace strata
