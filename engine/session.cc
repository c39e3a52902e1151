// Training sessions: weights and optimizer state by name, and a cache of compiled steps.
#include "engine/session.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/philox.h"
#include "engine/base/status.h"
#include "engine/compile.h"
#include "engine/exec/context.h"
#include "engine/inspect.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/optimizers/optimizer.h"
#include "engine/train/step.h"

namespace strata {
namespace {

constexpr char kWeightPrefix[] = "weight:";
constexpr char kCounters[] = "session:counters";   // i64: step, optimizer step, seed
constexpr char kRate[] = "session:learning_rate";  // f64

struct CompiledTrain {
  std::unique_ptr<const Plan> plan;
  std::unique_ptr<Context> context;
  std::vector<ScalarSet> scalars;
  std::vector<float> scalar_values;
  std::vector<MetricSpec> metrics;
  std::vector<RequirementSpec> requirements;
  int64_t samples = 0;
  std::vector<const void*> inputs;
};

struct CompiledEvaluate {
  std::unique_ptr<const Plan> plan;
  std::unique_ptr<Context> context;
  std::vector<MetricSpec> metrics;
  std::vector<RequirementSpec> requirements;
  int64_t samples = 0;
};

Signature SignatureOf(const NamedViews& batch) {
  Signature s;
  for (const auto& [name, view] : batch) s.push_back({name, view.dtype, view.shape});
  return s;
}

class TrainSessionImpl : public TrainSession {
 public:
  TrainSessionImpl(v1::Model model, v1::TrainingConfig config, const SessionOptions& options)
      : model_(std::move(model)),
        config_(std::move(config)),
        options_(options),
        train_cache_(options.plan_cache_bytes),
        evaluate_cache_(options.plan_cache_bytes) {}

  absl::Status Init() {
    STRATA_ASSIGN_OR_RETURN(const Ports ports, PortsOf(model_));
    seed_ = config_.seed() != 0 ? config_.seed() : StreamHash(model_.name());
    for (const nn::ParamSpec& p : ports.params) {
      Tensor t(p.dtype, p.shape);
      if (p.dtype == DType::kF32) {
        absl::StatusOr<Tensor> start =
            nn::Initialize(model_.dialect(), p.initializer, p.shape, seed_, StreamHash(p.stream));
        if (!start.ok()) return InvalidArgument(p.name, ".", start.status().message());
        t = *std::move(start);
      } else {
        for (int64_t i = 0; i < t.num_elements(); ++i) t.Set(i, p.initializer.constant().value());
      }
      if (p.adjust) p.adjust(&t);
      variables_[p.name] = std::move(t);
      weight_names_.push_back(p.name);
    }
    STRATA_ASSIGN_OR_RETURN(const nn::OptimizerRule rule,
                            nn::MakeOptimizer(model_.dialect(), config_.optimizer(), true));
    configured_rate_ = rate_ = rule.learning_rate;
    return absl::OkStatus();
  }

  absl::StatusOr<StepOutcome> Step(const NamedViews& batch) override {
    STRATA_ASSIGN_OR_RETURN(CompiledTrain* const c, TrainFor(batch));
    const int64_t random[2] = {static_cast<int64_t>(seed_), step_};
    std::vector<Tensor> aligned;
    c->inputs.clear();
    PushBatch(batch, &c->inputs, &aligned);
    c->inputs.push_back(random);
    FillScalars(c);
    const bool committed = c->context->Run(c->inputs);
    last_ = c->context.get();
    STRATA_RETURN_IF_ERROR(Check(c->requirements, *c->context));
    StepOutcome out;
    out.loss = Scalar(*c->context, TrainStep::kLoss);
    out.penalty = Scalar(*c->context, TrainStep::kPenalty);
    out.gradient_norm = Scalar(*c->context, TrainStep::kGradientNorm);
    out.learning_rate = rate_;
    out.samples = c->samples;
    out.metrics = MetricsOf(*c->context, c->metrics, nullptr);
    out.skipped = !committed;
    if (!committed && config_.non_finite() == v1::FAIL_RUN) {
      return absl::FailedPreconditionError(absl::StrCat("step ", step_ + 1,
                                                        ": loss or gradients are not finite, got loss ", out.loss,
                                                        " and gradient norm ", out.gradient_norm));
    }
    out.step = ++step_;
    if (committed) ++optimizer_step_;
    return out;
  }

  absl::StatusOr<EvalOutcome> Evaluate(const NamedViews& batch, bool first) override {
    STRATA_ASSIGN_OR_RETURN(CompiledEvaluate* const c, EvaluateFor(batch));
    std::vector<const void*> inputs;
    std::vector<Tensor> aligned;
    PushBatch(batch, &inputs, &aligned);
    c->context->Run(inputs);
    STRATA_RETURN_IF_ERROR(Check(c->requirements, *c->context));
    if (first) evaluation_ = {};
    evaluation_.samples += c->samples;
    evaluation_.loss += Scalar(*c->context, EvaluateStep::kLoss) * static_cast<double>(c->samples);
    EvalOutcome out;
    out.samples = evaluation_.samples;
    out.loss = evaluation_.loss / static_cast<double>(evaluation_.samples);
    out.metrics = MetricsOf(*c->context, c->metrics, &evaluation_.sums);
    return out;
  }

  std::string Profile() const override { return last_ != nullptr && options_.profile ? last_->Profile() : ""; }

  void SetLearningRate(double learning_rate) override { rate_ = learning_rate; }
  double learning_rate() const override { return rate_; }
  int64_t step() const override { return step_; }

  NamedTensors Weights() const override {
    NamedTensors out;
    for (const std::string& name : weight_names_) out[name] = variables_.at(name).Clone();
    return out;
  }

  absl::Status SetWeights(const NamedTensors& weights, bool strict) override {
    for (const auto& [name, t] : weights) STRATA_RETURN_IF_ERROR(CheckWeight("weights.", name, t));
    if (strict) {
      for (const std::string& name : weight_names_) {
        if (weights.count(name) == 0) return InvalidArgument("weights.", name, ": is missing");
      }
    }
    for (const auto& [name, t] : weights) Overwrite(name, t);
    return absl::OkStatus();
  }

  NamedTensors Save() const override {
    NamedTensors out;
    for (const auto& [name, t] : variables_) {
      const bool weight = std::find(weight_names_.begin(), weight_names_.end(), name) != weight_names_.end();
      out[weight ? kWeightPrefix + name : name] = t.Clone();
    }
    Tensor counters(DType::kI64, {3});
    const int64_t values[] = {step_, optimizer_step_, static_cast<int64_t>(seed_)};
    std::copy(std::begin(values), std::end(values), counters.data<int64_t>());
    out[kCounters] = std::move(counters);
    out[kRate] = Tensor::Scalar(rate_, DType::kF64);
    return out;
  }

  absl::Status Load(const NamedTensors& checkpoint) override {
    const auto counters = checkpoint.find(kCounters);
    const auto rate = checkpoint.find(kRate);
    if (counters == checkpoint.end() || counters->second.num_elements() != 3 || rate == checkpoint.end()) {
      return InvalidArgument("checkpoint: has no counters of a session");
    }
    for (const std::string& name : weight_names_) {
      const auto it = checkpoint.find(kWeightPrefix + name);
      if (it == checkpoint.end()) return InvalidArgument("checkpoint.", name, ": is missing");
      STRATA_RETURN_IF_ERROR(CheckWeight("checkpoint.", name, it->second));
    }
    const std::string prefix = kWeightPrefix;
    for (const auto& [name, t] : checkpoint) {
      if (name == kCounters || name == kRate) continue;
      if (name.compare(0, prefix.size(), prefix) == 0) {
        Overwrite(name.substr(prefix.size()), t);
      } else if (variables_.count(name) > 0) {
        if (variables_[name].shape() != t.shape())
          return InvalidArgument("checkpoint.", name, ": has another shape than before");
        Overwrite(name, t);
      } else {
        variables_[name] = t.Clone();  // a slot of a step that is not compiled yet
      }
    }
    const int64_t* c = counters->second.data<int64_t>();
    step_ = c[0];
    optimizer_step_ = c[1];
    seed_ = static_cast<uint64_t>(c[2]);
    rate_ = rate->second.At(0);
    return absl::OkStatus();
  }

  int64_t memory_bytes() const override {
    int64_t bytes = train_cache_.bytes() + evaluate_cache_.bytes();
    for (const auto& [name, t] : variables_) bytes += static_cast<int64_t>(t.size_bytes());
    return bytes;
  }

 private:
  static absl::Status Check(const std::vector<RequirementSpec>& requirements, const Context& context) {
    return CheckRequirements(requirements, [&](size_t i) { return context.output(i); });
  }

  static double Scalar(const Context& context, size_t output) {
    return *static_cast<const float*>(context.output(output));
  }

  // Adds this batch's sums to `totals` (if given) and returns the metrics of the totals, or of the batch alone.
  static std::map<std::string, double> MetricsOf(const Context& context, const std::vector<MetricSpec>& specs,
                                                 std::map<std::string, std::vector<double>>* totals) {
    std::map<std::string, double> out;
    for (const MetricSpec& m : specs) {
      std::vector<double> sums;
      for (size_t k = 0; k < m.sizes.size(); ++k) {
        const float* values = static_cast<const float*>(context.output(m.first_output + k));
        sums.insert(sums.end(), values, values + m.sizes[k]);
      }
      if (totals != nullptr) {
        std::vector<double>& total = (*totals)[m.name];
        total.resize(sums.size());
        for (size_t i = 0; i < sums.size(); ++i) sums[i] = total[i] += sums[i];
      }
      out[m.name] = m.result(sums);
    }
    return out;
  }

  absl::Status CheckWeight(const char* path, const std::string& name, const Tensor& t) const {
    const auto it = variables_.find(name);
    if (it == variables_.end() || std::find(weight_names_.begin(), weight_names_.end(), name) == weight_names_.end()) {
      return InvalidArgument(path, name, ": is no parameter or buffer of the model");
    }
    if (it->second.shape() == t.shape() && it->second.dtype() == t.dtype()) return absl::OkStatus();
    return InvalidArgument(path, name, ": must be ", DTypeName(it->second.dtype()), ShapeString(it->second.shape()),
                           ", got ", DTypeName(t.dtype()), ShapeString(t.shape()));
  }

  // Keeps the memory: compiled steps point to it.
  void Overwrite(const std::string& name, const Tensor& t) {
    Tensor& mine = variables_[name];
    std::copy_n(static_cast<const char*>(t.raw()), t.size_bytes(), static_cast<char*>(mine.raw()));
  }

  // Tensors in the order of the graph's inputs (by name); bytes from outside may be unaligned.
  static void PushBatch(const NamedViews& batch, std::vector<const void*>* inputs, std::vector<Tensor>* aligned) {
    for (const auto& [name, view] : batch) {
      if (reinterpret_cast<uintptr_t>(view.data) % alignof(double) != 0) {
        aligned->push_back(Tensor::CopyOf(view));
        inputs->push_back(aligned->back().raw());
      } else {
        inputs->push_back(view.data);
      }
    }
  }

  void FillScalars(CompiledTrain* c) {
    const double scale = configured_rate_ > 0 ? rate_ / configured_rate_ : 1;
    c->scalar_values.clear();
    for (const ScalarSet& set : c->scalars) {
      const double rate = configured_rate_ > 0 ? set.learning_rate * scale : rate_;
      for (double v : set.values(optimizer_step_ + 1, rate)) c->scalar_values.push_back(static_cast<float>(v));
    }
    for (const float& v : c->scalar_values) c->inputs.push_back(&v);
  }

  std::vector<void*> Pointers(const Graph& graph) {
    std::vector<void*> pointers;
    for (const VariableInfo& v : graph.variables()) pointers.push_back(variables_.at(v.name).raw());
    return pointers;
  }

  absl::StatusOr<CompiledTrain*> TrainFor(const NamedViews& batch) {
    const std::string key = SignatureKey(batch);
    if (CompiledTrain* found = train_cache_.Find(key)) return found;
    STRATA_ASSIGN_OR_RETURN(TrainStep step, BuildTrainStep(model_, config_, SignatureOf(batch)));
    for (const SlotSpec& slot : step.slots) {
      if (variables_.count(slot.name) > 0) continue;
      Tensor t(DType::kF32, slot.shape);
      if (slot.start != 0) std::fill_n(t.data<float>(), t.num_elements(), static_cast<float>(slot.start));
      variables_[slot.name] = std::move(t);
    }
    CompiledTrain c;
    c.scalars = std::move(step.scalars);
    c.metrics = std::move(step.metrics);
    c.requirements = std::move(step.requirements);
    c.samples = step.samples;
    STRATA_RETURN_IF_ERROR(CheckVariables(step.graph));
    STRATA_ASSIGN_OR_RETURN(c.plan, Compile(std::move(step.graph), Options()));
    c.context = std::make_unique<Context>(c.plan.get(), Pointers(c.plan->graph));
    if (options_.profile) c.context->StartProfile();
    const int64_t bytes = c.plan->memory_bytes();
    return train_cache_.Add(key, std::move(c), bytes);
  }

  absl::StatusOr<CompiledEvaluate*> EvaluateFor(const NamedViews& batch) {
    const std::string key = SignatureKey(batch);
    if (CompiledEvaluate* found = evaluate_cache_.Find(key)) return found;
    STRATA_ASSIGN_OR_RETURN(EvaluateStep step, BuildEvaluateStep(model_, config_, SignatureOf(batch)));
    CompiledEvaluate c;
    c.metrics = std::move(step.metrics);
    c.requirements = std::move(step.requirements);
    c.samples = step.samples;
    STRATA_RETURN_IF_ERROR(CheckVariables(step.graph));
    STRATA_ASSIGN_OR_RETURN(c.plan, Compile(std::move(step.graph), Options()));
    c.context = std::make_unique<Context>(c.plan.get(), Pointers(c.plan->graph));
    const int64_t bytes = c.plan->memory_bytes();
    return evaluate_cache_.Add(key, std::move(c), bytes);
  }

  // A parameter's shape may depend on the batch's shape (Keras' PReLU over a free axis): then only the first shape
  // fits.
  absl::Status CheckVariables(const Graph& graph) const {
    for (const VariableInfo& v : graph.variables()) {
      const auto it = variables_.find(v.name);
      if (it == variables_.end() || it->second.shape() != v.shape) {
        return InvalidArgument("tensors: give ", v.name, " the shape ", ShapeString(v.shape), ", it has ",
                               it == variables_.end() ? "none" : ShapeString(it->second.shape()));
      }
    }
    return absl::OkStatus();
  }

  CompileOptions Options() const { return {.threads = options_.threads, .reference = options_.reference}; }

  struct Evaluation {
    int64_t samples = 0;
    double loss = 0;  // times samples
    std::map<std::string, std::vector<double>> sums;
  };

  const v1::Model model_;
  const v1::TrainingConfig config_;
  const SessionOptions options_;
  std::map<std::string, Tensor> variables_;
  std::vector<std::string> weight_names_;
  PlanCache<CompiledTrain> train_cache_;
  PlanCache<CompiledEvaluate> evaluate_cache_;
  Evaluation evaluation_;
  uint64_t seed_ = 0;
  int64_t step_ = 0, optimizer_step_ = 0;
  const Context* last_ = nullptr;  // of the last step; in train_cache_, where the newest entry stays
  double rate_ = 0, configured_rate_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TrainSession>> TrainSession::Create(const v1::Model& model,
                                                                   const v1::TrainingConfig& config,
                                                                   const SessionOptions& options) {
  STRATA_ASSIGN_OR_RETURN(v1::Model complete, Complete(model));
  STRATA_ASSIGN_OR_RETURN(v1::TrainingConfig complete_config, CompleteConfig(complete.dialect(), config));
  auto session = std::make_unique<TrainSessionImpl>(std::move(complete), std::move(complete_config), options);
  STRATA_RETURN_IF_ERROR(session->Init());
  return session;
}

}  // namespace strata
