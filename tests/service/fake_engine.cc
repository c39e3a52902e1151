#include "tests/service/fake_engine.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"

namespace strata::service {
namespace {

int64_t Features(const v1::Model& model) { return model.inputs(0).shape(0); }

absl::Status CheckTensor(const NamedViews& views, const std::string& name, const Shape& shape) {
  const auto it = views.find(name);
  if (it == views.end()) return InvalidArgument("batch: must have ", name);
  if (it->second.dtype != DType::kF32) return InvalidArgument("batch.", name, ": must be f32");
  bool fits = it->second.shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == -1 || shape[i] == it->second.shape[i];
  if (!fits) {
    return InvalidArgument("batch.", name, ": must have shape ", ShapeString(shape), ", got ",
                           ShapeString(it->second.shape));
  }
  return absl::OkStatus();
}

class FakeSession final : public TrainSession {
 public:
  FakeSession(int64_t features, const v1::TrainingConfig& config)
      : features_(features), config_(config), weights_(DType::kF32, {features}), slots_(DType::kF32, {features}) {
    for (int64_t i = 0; i < features; ++i) weights_.Set(i, 0.01 * static_cast<double>(i + 1));
    average_ = weights_.Clone();
    best_ = weights_.Clone();
  }

  absl::StatusOr<StepOutcome> Step(const NamedViews& batch, const StepOptions& options) override {
    STRATA_RETURN_IF_ERROR(CheckTensor(batch, "x", {-1, features_}));
    STRATA_RETURN_IF_ERROR(CheckTensor(batch, "target", {batch.at("x").shape[0]}));
    std::vector<double> gradient(features_);
    StepOutcome outcome{.samples = batch.at("x").shape[0], .loss = Loss(batch, &gradient), .learning_rate = rate_};
    for (const double g : gradient) outcome.gradient_norm += g * g;
    outcome.gradient_norm = std::sqrt(outcome.gradient_norm);
    outcome.metrics["mean_squared_error"] = outcome.loss;
    if (!std::isfinite(outcome.loss)) {
      if (config_.non_finite() == v1::FAIL_RUN) {
        return absl::FailedPreconditionError("step: loss must be finite");
      }
      outcome.skipped = true;
    } else {
      // Momentum, so that a checkpoint needs more than the weights.
      for (int64_t i = 0; i < features_; ++i) {
        slots_.Set(i, 0.9 * slots_.At(i) + gradient[i]);
        weights_.Set(i, weights_.At(i) - rate_ * slots_.At(i));
        average_.Set(i, 0.5 * average_.At(i) + 0.5 * weights_.At(i));
      }
    }
    outcome.step = ++step_;
    epoch_.samples += outcome.samples;
    epoch_.loss +=
        (outcome.loss - epoch_.loss) * static_cast<double>(outcome.samples) / static_cast<double>(epoch_.samples);
    epoch_.ended = options.end_of_epoch;
    outcome.epoch = epoch_;
    if (epoch_.ended) epoch_ = {.epoch = epoch_.epoch + 1};
    return outcome;
  }

  absl::StatusOr<EvalOutcome> Evaluate(const NamedViews& batch, bool first) override {
    STRATA_RETURN_IF_ERROR(CheckTensor(batch, "x", {-1, features_}));
    STRATA_RETURN_IF_ERROR(CheckTensor(batch, "target", {batch.at("x").shape[0]}));
    if (first) evaluation_ = {};
    std::vector<double> gradient(features_);
    const int64_t rows = batch.at("x").shape[0];
    const double sum = evaluation_.loss * static_cast<double>(evaluation_.samples);
    evaluation_.samples += rows;
    evaluation_.loss =
        (sum + Loss(batch, &gradient) * static_cast<double>(rows)) / static_cast<double>(evaluation_.samples);
    evaluation_.metrics["mean_squared_error"] = evaluation_.loss;
    return evaluation_;
  }

  // Early stopping and keep_best on the validation's loss.
  Verdict EndEvaluation(const std::string& name, const EvalOutcome& outcome) override {
    if (name != "validation") return {};
    const bool better = outcome.loss < best_loss_;
    if (better) {
      best_loss_ = outcome.loss;
      best_ = weights_.Clone();
      best_step_ = step_;
    }
    wait_ = better ? 0 : wait_ + 1;
    stopped_ = config_.has_early_stopping() && wait_ >= config_.early_stopping().patience() && !better;
    return {.best = better && config_.has_keep_best(), .stop = stopped_};
  }
  bool stopped() const override { return stopped_; }
  absl::StatusOr<NamedTensors> WeightsOf(WeightSet set, int64_t* step) const override {
    *step = set == WeightSet::kBest ? best_step_ : step_;
    if (set == WeightSet::kBest && !config_.has_keep_best()) return InvalidArgument("weights: must be kept");
    NamedTensors weights;
    weights.emplace("w", (set == WeightSet::kBest ? best_ : set == WeightSet::kAveraged ? average_ : weights_).Clone());
    return weights;
  }

  void SetLearningRate(double rate) override { rate_ = rate; }
  double learning_rate() const override { return rate_; }
  int64_t step() const override { return step_; }
  NamedTensors Weights() const override {
    NamedTensors weights;
    weights.emplace("w", weights_.Clone());
    return weights;
  }
  absl::Status SetWeights(const NamedTensors&, bool) override { return absl::UnimplementedError("not needed"); }
  NamedTensors Save() const override {
    NamedTensors state = Weights();
    state.emplace("slots", slots_.Clone());
    state.emplace("step", Tensor::Scalar(static_cast<double>(step_), DType::kI64));
    state.emplace("average", average_.Clone());
    state.emplace("best", best_.Clone());
    const std::vector<double> watched{best_loss_, static_cast<double>(best_step_), static_cast<double>(wait_),
                                      stopped_ ? 1.0 : 0.0};
    state.emplace("watched", Tensor::Of(DType::kF64, {4}, watched));
    return state;
  }
  absl::Status Load(const NamedTensors& state) override {
    if (state.count("w") == 0 || state.count("slots") == 0 || state.count("step") == 0) {
      return InvalidArgument("checkpoint: must have w, slots and step");
    }
    weights_ = state.at("w").Clone();
    slots_ = state.at("slots").Clone();
    step_ = static_cast<int64_t>(state.at("step").At(0));
    average_ = state.at("average").Clone();
    best_ = state.at("best").Clone();
    const Tensor& watched = state.at("watched");
    best_loss_ = watched.At(0);
    best_step_ = static_cast<int64_t>(watched.At(1));
    wait_ = static_cast<int64_t>(watched.At(2));
    stopped_ = watched.At(3) != 0;
    return absl::OkStatus();
  }
  int64_t memory_bytes() const override { return features_ * 8; }

 private:
  double Loss(const NamedViews& batch, std::vector<double>* gradient) const {
    const TensorView& x = batch.at("x");
    const int64_t rows = x.shape[0];
    double loss = 0;
    for (int64_t r = 0; r < rows; ++r) {
      double y = 0;
      for (int64_t i = 0; i < features_; ++i) y += x.as<float>()[r * features_ + i] * weights_.At(i);
      const double error = y - batch.at("target").as<float>()[r];
      loss += error * error / static_cast<double>(rows);
      for (int64_t i = 0; i < features_; ++i) {
        (*gradient)[i] += 2 * error * x.as<float>()[r * features_ + i] / static_cast<double>(rows);
      }
    }
    return loss;
  }

  const int64_t features_;
  const v1::TrainingConfig config_;
  Tensor weights_, slots_, average_, best_;
  double best_loss_ = std::numeric_limits<double>::infinity();
  int64_t best_step_ = 0, wait_ = 0;
  bool stopped_ = false;
  EpochOutcome epoch_;
  double rate_ = 0.01;
  int64_t step_ = 0;
  EvalOutcome evaluation_;
};

class FakeVersion final : public Version {
 public:
  FakeVersion(const v1::Model& model, const Tensor& weights, std::shared_ptr<FakeEngine::Gate> gate)
      : slow_(absl::StartsWith(model.name(), "slow")),
        independent_(!absl::StartsWith(model.name(), "whole")),
        weights_(weights.Clone()),
        gate_(std::move(gate)),
        inputs_{{"x", DType::kF32, {-1, Features(model)}}},
        outputs_{{"y", DType::kF32, {-1, 1}}, {"twice", DType::kF64, {-1, 1}}} {}

  NamedViews weights() const override { return {{"w", weights_.view()}}; }

  absl::StatusOr<NamedTensors> Predict(const NamedViews& inputs) const override {
    const TensorView& x = inputs.at("x");
    {
      absl::MutexLock lock(&gate_->mutex);
      if (slow_) {
        ++gate_->waiting;
        gate_->mutex.Await(absl::Condition(&gate_->open));
        --gate_->waiting;
      }
      ++gate_->predictions;
      gate_->largest_batch = std::max(gate_->largest_batch, x.shape[0]);
    }
    const int64_t rows = x.shape[0], features = weights_.dim(0);
    Tensor y(DType::kF32, {rows, 1}), twice(DType::kF64, {rows, 1});
    for (int64_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (int64_t i = 0; i < features; ++i) sum += x.as<float>()[r * features + i] * weights_.At(i);
      // Like an index out of range: one bad row refuses the whole call.
      if (std::isinf(sum)) return InvalidArgument("inputs.x: must be finite");
      y.Set(r, sum);
      twice.Set(r, 2 * sum);
    }
    NamedTensors outputs;
    outputs.emplace("y", std::move(y));
    outputs.emplace("twice", std::move(twice));
    return outputs;
  }
  const std::vector<PortSpec>& inputs() const override { return inputs_; }
  const std::vector<PortSpec>& outputs() const override { return outputs_; }
  bool rows_independent() const override { return independent_; }
  int64_t memory_bytes() const override { return 1000; }

 private:
  const bool slow_, independent_;
  const Tensor weights_;
  const std::shared_ptr<FakeEngine::Gate> gate_;
  const std::vector<PortSpec> inputs_, outputs_;
};

}  // namespace

void FakeEngine::Gate::AwaitWaiting(int count) {
  absl::MutexLock lock(&mutex);
  struct Want {
    Gate* gate;
    int count;
    bool Met() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return gate->waiting >= count; }
  } want{this, count};
  mutex.Await(absl::Condition(&want, &Want::Met));
}

absl::StatusOr<v1::Model> FakeEngine::Complete(const v1::Model& model) const {
  if (model.dialect() == v1::DIALECT_UNSPECIFIED) return InvalidArgument("dialect: must be given");
  if (model.inputs_size() != 1 || model.inputs(0).shape_size() != 1 || model.inputs(0).shape(0) < 1) {
    return InvalidArgument("inputs: must be one vector");
  }
  return model;
}

absl::StatusOr<ModelFacts> FakeEngine::Inspect(const v1::Model& model, const v1::TrainingConfig* config,
                                               int64_t batch_size) const {
  STRATA_RETURN_IF_ERROR(Complete(model).status());
  if (config != nullptr && config->objectives().empty()) return InvalidArgument("objectives: must not be empty");
  const int64_t features = Features(model);
  ModelFacts facts{.inputs = {{"x", DType::kF32, {-1, features}}}, .outputs = {{"y", DType::kF32, {-1, 1}}}};
  facts.parameters = {{.name = "w", .shape = {features}}};
  facts.num_parameters = facts.num_trainable = features;
  facts.flops = 2 * features * batch_size;
  return facts;
}

std::vector<v1::ComponentInfo> FakeEngine::Components() const {
  v1::ComponentInfo linear;
  linear.set_family("layer");
  linear.set_name("linear");
  return {linear};
}

absl::StatusOr<std::string> FakeEngine::Summarize(const v1::Model& model, const SummaryOptions& options) const {
  return absl::StrCat(options.style, " ", model.name());
}

absl::StatusOr<std::unique_ptr<TrainSession>> FakeEngine::CreateSession(const v1::Model& model,
                                                                        const v1::TrainingConfig& config,
                                                                        const SessionOptions&) const {
  return std::make_unique<FakeSession>(Features(model), config);
}

absl::StatusOr<std::unique_ptr<Version>> FakeEngine::CreateVersion(const v1::Model& model, NamedTensors weights,
                                                                   const SessionOptions&) const {
  const auto w = weights.find("w");
  if (w == weights.end()) return InvalidArgument("weights: must have w");
  return std::make_unique<FakeVersion>(model, w->second, gate_);
}

absl::StatusOr<v1::CustomComponent> FakeEngine::CheckComponent(const v1::CustomComponent& component) const {
  if (component.name().empty()) return InvalidArgument("component.name: must be given");
  v1::CustomComponent complete = component;
  if (complete.version().empty()) complete.set_version("1");
  return complete;
}

absl::StatusOr<v1::Model> FakeEngine::Import(v1::Dialect dialect, const std::string& json,
                                             const std::vector<v1::Input>& inputs, const CustomComponents&) const {
  if (json != "{}") return InvalidArgument("json: must be {}");
  v1::Model model;
  model.set_dialect(dialect);
  for (const v1::Input& input : inputs) *model.add_inputs() = input;
  return model;
}

}  // namespace strata::service
