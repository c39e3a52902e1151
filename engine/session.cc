// Training sessions: weights and optimizer state by name, and a cache of compiled steps.
#include "engine/session.h"
#include "engine/staged.h"

#include <cmath>
#include <iterator>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/base/philox.h"
#include "engine/base/status.h"
#include "engine/compile.h"
#include "engine/exec/context.h"
#include "engine/inspect.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/optimizers/optimizer.h"
#include "engine/train/progress.h"
#include "engine/train/step.h"
#include "engine/variables.h"

namespace strata {
namespace {

constexpr char kBest[] = "best", kCandidate[] = "candidate";  // kept weights: of keep_best, of early stopping
constexpr char kValidation[] = "validation";

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
    STRATA_ASSIGN_OR_RETURN(Ports ports, PortsOf(model_));
    STRATA_ASSIGN_OR_RETURN(std::vector<nn::ParamSpec> own, ObjectiveParams(model_, config_, ports));
    const size_t of_model = ports.params.size();
    std::move(own.begin(), own.end(), std::back_inserter(ports.params));
    STRATA_ASSIGN_OR_RETURN(const nn::OptimizerRule rule,
                            nn::MakeOptimizer(model_.dialect(), config_.optimizer(), true));
    STRATA_ASSIGN_OR_RETURN(progress_, Progress::Create(model_.dialect(), config_, rule.learning_rate));
    const uint64_t seed = progress_->seed = config_.seed() != 0 ? config_.seed() : StreamHash(model_.name());
    for (const nn::ParamSpec& p : ports.params) {
      Tensor t(p.dtype, p.shape);
      if (p.dtype == DType::kF32) {
        absl::StatusOr<Tensor> start =
            nn::Initialize(model_.dialect(), p.initializer, p.shape, seed, StreamHash(p.stream));
        if (!start.ok()) return InvalidArgument(p.name, ".", start.status().message());
        t = *std::move(start);
      } else {
        for (int64_t i = 0; i < t.num_elements(); ++i) t.Set(i, p.initializer.constant().value());
      }
      if (p.adjust) p.adjust(&t);
      variables_.AddWeight(p.name, std::move(t), variables_.num_weights() >= of_model);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<StepOutcome> Step(const NamedViews& batch, const StepOptions& options) override {
    Progress& p = *progress_;
    const StepRole role = config_.accumulate_steps() <= 1                    ? StepRole::kWhole
                          : p.pending_steps + 1 < config_.accumulate_steps() ? StepRole::kAccumulate
                                                                             : StepRole::kApply;
    const double rate = p.rate();
    if (!std::isfinite(rate)) {
      return absl::FailedPreconditionError(absl::StrCat("optimizer.schedule: must give a number as learning rate, got ",
                                                        rate, " after ", p.updates, " updates and ", p.epochs,
                                                        " epochs"));
    }
    STRATA_ASSIGN_OR_RETURN(CompiledTrain* const c, TrainFor(batch, role));
    NamedTensors states;
    if (options.reset_states) states = variables_.ResetStates();
    const int64_t random[2] = {static_cast<int64_t>(p.seed), p.steps};
    std::vector<Tensor> aligned;
    c->inputs.clear();
    PushBatch(batch, &c->inputs, &aligned);
    c->inputs.push_back(random);
    FillScalars(c);
    const bool committed = c->context->Run(c->inputs);
    last_ = c->context.get();
    if (const absl::Status fits = Check(c->requirements, *c->context); !fits.ok()) {
      STRATA_RETURN_IF_ERROR(variables_.SetWeights(states, /*strict=*/false));
      return fits;
    }
    StepOutcome out;
    out.loss = Scalar(*c->context, TrainStep::kLoss);
    out.penalty = Scalar(*c->context, TrainStep::kPenalty);
    out.gradient_norm = Scalar(*c->context, TrainStep::kGradientNorm);
    out.learning_rate = rate;
    out.samples = c->samples;
    out.metrics = MetricsOf(*c->context, c->metrics, nullptr);
    out.skipped = !committed;
    if (!committed && config_.non_finite() == v1::FAIL_RUN) {
      return absl::FailedPreconditionError(absl::StrCat("step ", p.steps + 1,
                                                        ": loss or gradients are not finite, got loss ", out.loss,
                                                        " and gradient norm ", out.gradient_norm));
    }
    out.step = ++p.steps;
    out.accumulated = committed && role == StepRole::kAccumulate;
    if (committed) CountStep(role, c->samples);
    AddToEpoch(*c, options, &out);
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
    out.loss = evaluation_.MeanLoss();
    out.metrics = MetricsOf(*c->context, c->metrics, &evaluation_.sums);
    return out;
  }

  std::vector<std::string> warnings() const override {
    if (config_.precision() != v1::BF16_MIXED || CpuHasBf16()) return {};
    return {"precision: this machine has no AVX512_BF16: the run trains in float32"};
  }
  std::string Profile() const override { return last_ != nullptr && options_.profile ? last_->Profile() : ""; }

  Verdict EndEvaluation(const std::string& name, const EvalOutcome& outcome) override {
    if (name != kValidation) return {};
    std::map<std::string, double> values{{"val_loss", outcome.loss}};
    for (const auto& [metric, value] : outcome.metrics) values["val_" + metric] = value;
    return Observe(values);
  }
  bool stopped() const override { return progress_->stopped; }

  void SetLearningRate(double learning_rate) override { progress_->SetRate(learning_rate); }
  double learning_rate() const override { return progress_->rate(); }
  int64_t step() const override { return progress_->steps; }

  NamedTensors Weights() const override { return variables_.Weights(); }

  absl::StatusOr<NamedTensors> WeightsOf(WeightSet set, int64_t* step) const override {
    *step = progress_->steps;
    switch (set) {
      case WeightSet::kAveraged:
        if (!config_.optimizer().has_moving_average()) {
          return InvalidArgument("weights: AVERAGED needs the configuration's optimizer.moving_average, got none");
        }
        return variables_.AveragedWeights();
      case WeightSet::kBest: {
        if (!config_.has_keep_best())
          return InvalidArgument("weights: BEST needs the configuration's keep_best, got none");
        if (!variables_.Keeps(kBest)) {
          return absl::FailedPreconditionError(
              absl::StrCat("weights: BEST needs an observation of ", config_.keep_best().monitor(), ", got none yet"));
        }
        *step = progress_->best_step;
        NamedTensors out;
        for (const auto& [name, t] : variables_.Kept(kBest)) out[name] = t.Clone();
        return out;
      }
      default:
        return variables_.Weights();
    }
  }

  absl::Status SetWeights(const NamedTensors& weights, bool strict) override {
    return variables_.SetWeights(weights, strict);
  }

  NamedTensors Save() const override {
    NamedTensors out;
    variables_.Save(&out);
    progress_->Save(&out);
    return out;
  }

  absl::Status Load(const NamedTensors& checkpoint) override {
    Progress progress = *progress_;
    STRATA_RETURN_IF_ERROR(progress.Load(checkpoint));
    STRATA_RETURN_IF_ERROR(variables_.Load(checkpoint, &Progress::IsOwn));
    progress_ = std::move(progress);
    return absl::OkStatus();
  }

  int64_t memory_bytes() const override { return train_cache_.bytes() + evaluate_cache_.bytes() + variables_.bytes(); }

 private:
  static absl::Status Check(const std::vector<RequirementSpec>& requirements, const Context& context) {
    return CheckRequirements(requirements, [&](size_t output) { return static_cast<float>(Scalar(context, output)); });
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

  void CountStep(StepRole role, int64_t samples) {
    Progress& p = *progress_;
    if (role == StepRole::kAccumulate) {
      ++p.pending_steps;
      p.pending_samples += samples;
      return;
    }
    p.pending_steps = p.pending_samples = 0;
    ++p.updates;
  }

  // Adds a step to its epoch, unless it was skipped, and ends the epoch where it ends.
  void AddToEpoch(const CompiledTrain& c, const StepOptions& options, StepOutcome* out) {
    Progress& p = *progress_;
    EpochOutcome& epoch = out->epoch;
    if (!out->skipped) {
      p.epoch.samples += out->samples;
      p.epoch.loss += out->loss * static_cast<double>(out->samples);
      epoch.metrics = MetricsOf(*c.context, c.metrics, &p.epoch.sums);
    } else {
      for (const MetricSpec& m : c.metrics) {
        const auto sums = p.epoch.sums.find(m.name);
        if (sums != p.epoch.sums.end()) epoch.metrics[m.name] = m.result(sums->second);
      }
    }
    ++p.epoch_steps;
    epoch.epoch = p.epochs + 1;
    epoch.samples = p.epoch.samples;
    epoch.loss = p.epoch.MeanLoss();
    epoch.ended = options.end_of_epoch || (config_.steps_per_epoch() > 0 && p.epoch_steps >= config_.steps_per_epoch());
    if (!epoch.ended) return;
    p.EndEpoch();
    std::map<std::string, double> values = epoch.metrics;
    values["loss"] = epoch.loss;
    out->verdict = Observe(values);
  }

  Verdict Observe(const std::map<std::string, double>& values) {
    const Progress::Verdict v = progress_->Observe(values);
    if (v.best) {
      variables_.Keep(kBest);
      progress_->best_step = progress_->steps;
    }
    const bool restores = config_.has_early_stopping() && config_.early_stopping().restore_best_weights();
    if (v.candidate && restores) variables_.Keep(kCandidate);
    if (v.stop && restores && variables_.Keeps(kCandidate)) variables_.Restore(kCandidate);
    return {v.best, v.stop};
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
    c->scalar_values.clear();
    for (const ScalarSet& set : c->scalars) {
      for (double v : set.values(progress_->NumbersOf(set.learning_rate, c->samples))) {
        c->scalar_values.push_back(static_cast<float>(v));
      }
    }
    for (const float& v : c->scalar_values) c->inputs.push_back(&v);
  }

  absl::StatusOr<CompiledTrain*> TrainFor(const NamedViews& batch, StepRole role) {
    const std::string key = absl::StrCat(static_cast<int>(role), SignatureKey(batch));
    if (CompiledTrain* found = train_cache_.Find(key)) return found;
    STRATA_ASSIGN_OR_RETURN(TrainStep step, BuildTrainStep(model_, config_, SignatureOf(batch), role));
    variables_.AddSlots(step.slots);
    CompiledTrain c;
    c.scalars = std::move(step.scalars);
    c.metrics = std::move(step.metrics);
    c.requirements = std::move(step.requirements);
    c.samples = step.samples;
    STRATA_RETURN_IF_ERROR(variables_.CheckGraph(step.graph));
    STRATA_ASSIGN_OR_RETURN(c.plan, Compile(std::move(step.graph), Options()));
    c.context = std::make_unique<Context>(c.plan.get(), variables_.PointersFor(c.plan->graph));
    c.context->GiveWay();
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
    STRATA_RETURN_IF_ERROR(variables_.CheckGraph(step.graph));
    STRATA_ASSIGN_OR_RETURN(c.plan, Compile(std::move(step.graph), Options()));
    c.context = std::make_unique<Context>(c.plan.get(), variables_.PointersFor(c.plan->graph));
    c.context->GiveWay();
    const int64_t bytes = c.plan->memory_bytes();
    return evaluate_cache_.Add(key, std::move(c), bytes);
  }

  CompileOptions Options() const {
    return {
        .threads = options_.threads, .bf16 = config_.precision() == v1::BF16_MIXED, .reference = options_.reference};
  }

  const v1::Model model_;
  const v1::TrainingConfig config_;
  const SessionOptions options_;
  Variables variables_;
  std::optional<Progress> progress_;  // set by Init
  PlanCache<CompiledTrain> train_cache_;
  PlanCache<CompiledEvaluate> evaluate_cache_;
  Totals evaluation_;
  const Context* last_ = nullptr;  // of the last step; in train_cache_, where the newest entry stays
};

}  // namespace

absl::StatusOr<std::unique_ptr<TrainSession>> TrainSession::Create(const v1::Model& model,
                                                                   const v1::TrainingConfig& config,
                                                                   const SessionOptions& options) {
  STRATA_ASSIGN_OR_RETURN(v1::Model complete, Complete(model));
  STRATA_ASSIGN_OR_RETURN(FeatureStage stage, FeatureStage::Create(complete));
  if (!stage.empty()) {
    STRATA_ASSIGN_OR_RETURN(auto inner, Create(stage.model(), config, options));
    return MakeStagedSession(complete, std::move(stage), std::move(inner));
  }
  STRATA_ASSIGN_OR_RETURN(v1::TrainingConfig complete_config, CompleteConfig(complete, config));
  auto session = std::make_unique<TrainSessionImpl>(std::move(complete), std::move(complete_config), options);
  STRATA_RETURN_IF_ERROR(session->Init());
  return session;
}

}  // namespace strata
