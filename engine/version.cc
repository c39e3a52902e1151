// Published weights: plans with the weights bound as constants, one pool of contexts for each signature.

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/status.h"
#include "engine/compile.h"
#include "engine/exec/context.h"
#include "engine/inspect.h"
#include "engine/nn/build.h"
#include "engine/ops/ops.h"
#include "engine/passes/passes.h"
#include "engine/session.h"
#include "engine/staged.h"
#include "engine/train/forward.h"

namespace strata {
namespace {

// A compiled signature, with contexts that wait for a caller. Callers keep the entry alive while it runs.
struct Compiled {
  std::unique_ptr<const Plan> plan;
  std::vector<RequirementSpec> requirements;  // their outputs follow the model's
  bool profile = false;
  absl::Mutex mutex;
  std::vector<std::unique_ptr<Context>> idle ABSL_GUARDED_BY(mutex);

  std::unique_ptr<Context> Take() {
    {
      absl::MutexLock lock(&mutex);
      if (!idle.empty()) {
        std::unique_ptr<Context> context = std::move(idle.back());
        idle.pop_back();
        return context;
      }
    }
    auto context = std::make_unique<Context>(plan.get(), std::vector<void*>());
    if (profile) context->StartProfile();
    return context;
  }
  void Return(std::unique_ptr<Context> context) {
    absl::MutexLock lock(&mutex);
    idle.push_back(std::move(context));
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
    std::unique_ptr<Context> context = compiled->Take();
    std::vector<Tensor> aligned;
    std::vector<const void*> pointers;
    for (const NamedValue& in : compiled->plan->graph.inputs()) {
      const TensorView& view = inputs.at(in.name);
      if (reinterpret_cast<uintptr_t>(view.data) % alignof(double) != 0) {
        aligned.push_back(Tensor::CopyOf(view));
        pointers.push_back(aligned.back().raw());
      } else {
        pointers.push_back(view.data);
      }
    }
    context->Run(pointers);
    NamedTensors out;
    const Graph& g = compiled->plan->graph;
    const absl::Status status = CheckRequirements(compiled->requirements, [&](size_t i) { return context->output(i); });
    for (size_t i = 0; i < ports_.outputs.size() && status.ok(); ++i) {
      const ValueInfo& info = g.info(g.outputs()[i].value);
      out[g.outputs()[i].name] = Tensor::CopyOf({info.dtype, info.shape, context->output(i)});
    }
    if (options_.profile) {
      absl::MutexLock lock(&mutex_);
      profile_ = context->Profile();
    }
    compiled->Return(std::move(context));
    if (!status.ok()) return status;
    return out;
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
  absl::Status Check(const NamedViews& inputs) const {
    int64_t rows = -1;
    for (const v1::Input& input : model_.inputs()) {
      const std::string path = absl::StrCat("inputs.", input.name());
      const auto it = inputs.find(input.name());
      if (it == inputs.end()) return InvalidArgument(path, ": is missing");
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
      if (!known) return InvalidArgument("inputs.", name, ": is no input of the model");
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
    STRATA_ASSIGN_OR_RETURN(compiled->plan,
                            Compile(std::move(bound), {.threads = options_.threads, .reference = options_.reference}));
    absl::MutexLock lock(&mutex_);
    if (const auto* found = cache_.Find(key)) return *found;  // another caller was faster
    const int64_t bytes = compiled->plan->memory_bytes();
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

absl::StatusOr<std::unique_ptr<Version>> Version::Create(const v1::Model& given, const NamedTensors& weights,
                                                         const SessionOptions& options) {
  STRATA_ASSIGN_OR_RETURN(v1::Model model, Complete(given));
  STRATA_ASSIGN_OR_RETURN(FeatureStage stage, FeatureStage::Create(model));
  if (!stage.empty()) {
    STRATA_ASSIGN_OR_RETURN(auto inner, Create(stage.model(), weights, options));
    return MakeStagedVersion(model, std::move(stage), std::move(inner));
  }
  STRATA_ASSIGN_OR_RETURN(Ports ports, PortsOf(model));
  std::map<std::string, std::shared_ptr<const Tensor>> bound;
  for (const nn::ParamSpec& p : ports.params) {
    const auto it = weights.find(p.name);
    if (it == weights.end()) return InvalidArgument("weights.", p.name, ": is missing");
    if (it->second.shape() != p.shape || it->second.dtype() != p.dtype) {
      return InvalidArgument("weights.", p.name, ": must be ", DTypeName(p.dtype), ShapeString(p.shape), ", got ",
                             DTypeName(it->second.dtype()), ShapeString(it->second.shape()));
    }
    bound[p.name] = std::make_shared<const Tensor>(it->second.Clone());
  }
  return std::make_unique<VersionImpl>(std::move(model), std::move(ports), std::move(bound), options);
}

}  // namespace strata
