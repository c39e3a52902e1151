#include "engine/staged.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/train/forward.h"

namespace strata {
namespace {

// Turns a batch of raw features into a batch of the model of numbers.
class Front {
 public:
  Front(const v1::Model& model, FeatureStage stage) : stage_(std::move(stage)) {
    for (const v1::Input& input : model.inputs()) {
      if (input.dtype() == v1::BYTES) texts_.insert(input.name());
      raw_only_.insert(input.name());
    }
    for (const v1::Input& input : stage_.model().inputs()) raw_only_.erase(input.name());
  }

  // `ids` owns what the views of derived inputs borrow.
  absl::StatusOr<NamedViews> Apply(const NamedViews& batch, NamedTensors* ids) const {
    Features features;
    for (const std::string& name : stage_.features()) {
      const auto it = batch.find(name);
      if (it == batch.end()) return InvalidArgument(name, ": must be given, got nothing");
      STRATA_ASSIGN_OR_RETURN(features[name], FeatureOf(name, it->second));
    }
    STRATA_ASSIGN_OR_RETURN(*ids, stage_.Apply(features));
    NamedViews out;
    for (const auto& [name, view] : batch) {
      if (raw_only_.count(name) == 0) out[name] = view;
    }
    for (const auto& [name, tensor] : *ids) out[name] = tensor.view();
    return out;
  }

 private:
  absl::StatusOr<Feature> FeatureOf(const std::string& name, const TensorView& view) const {
    Feature feature;
    feature.shape = view.shape;
    feature.numbers = view;
    if (texts_.count(name) == 0) return feature;
    if (view.dtype != DType::kU8 || view.shape.size() < 2) {
      return InvalidArgument(name, ": must be texts as rows of bytes (u8), got ", DTypeName(view.dtype),
                             ShapeString(view.shape));
    }
    feature.is_text = true;
    const auto width = static_cast<size_t>(view.shape.back());
    feature.shape.pop_back();
    const char* bytes = static_cast<const char*>(view.data);
    for (int64_t i = 0, n = NumElements(feature.shape); i < n; ++i) {
      std::string_view text(bytes + static_cast<size_t>(i) * width, width);
      text = text.substr(0, text.find_last_not_of('\0') + 1);
      feature.texts.push_back(text);
    }
    return feature;
  }

  const FeatureStage stage_;
  std::set<std::string> texts_, raw_only_;
};

class StagedSession final : public TrainSession {
 public:
  StagedSession(const v1::Model& model, FeatureStage stage, std::unique_ptr<TrainSession> inner)
      : front_(model, std::move(stage)), inner_(std::move(inner)) {}

  absl::StatusOr<StepOutcome> Step(const NamedViews& batch, const StepOptions& options) override {
    NamedTensors ids;
    STRATA_ASSIGN_OR_RETURN(const NamedViews numbers, front_.Apply(batch, &ids));
    return inner_->Step(numbers, options);
  }
  absl::StatusOr<EvalOutcome> Evaluate(const NamedViews& batch, bool first) override {
    NamedTensors ids;
    STRATA_ASSIGN_OR_RETURN(const NamedViews numbers, front_.Apply(batch, &ids));
    return inner_->Evaluate(numbers, first);
  }
  Verdict EndEvaluation(const std::string& name, const EvalOutcome& outcome) override {
    return inner_->EndEvaluation(name, outcome);
  }
  bool stopped() const override { return inner_->stopped(); }
  absl::StatusOr<NamedTensors> WeightsOf(WeightSet set, int64_t* step) const override {
    return inner_->WeightsOf(set, step);
  }
  void SetLearningRate(double rate) override { inner_->SetLearningRate(rate); }
  double learning_rate() const override { return inner_->learning_rate(); }
  int64_t step() const override { return inner_->step(); }
  NamedTensors Weights() const override { return inner_->Weights(); }
  absl::Status SetWeights(const NamedTensors& weights, bool strict) override {
    return inner_->SetWeights(weights, strict);
  }
  NamedTensors Save() const override { return inner_->Save(); }
  absl::Status Load(const NamedTensors& checkpoint) override { return inner_->Load(checkpoint); }
  int64_t memory_bytes() const override { return inner_->memory_bytes(); }
  std::vector<std::string> warnings() const override { return inner_->warnings(); }
  std::string Profile() const override { return inner_->Profile(); }

 private:
  const Front front_;
  const std::unique_ptr<TrainSession> inner_;
};

class StagedVersion final : public Version {
 public:
  StagedVersion(const v1::Model& model, FeatureStage stage, std::unique_ptr<Version> inner)
      : front_(model, std::move(stage)), inner_(std::move(inner)), inputs_(RawPorts(model)) {}

  absl::StatusOr<NamedTensors> Predict(const NamedViews& inputs) const override {
    NamedTensors ids;
    STRATA_ASSIGN_OR_RETURN(const NamedViews numbers, front_.Apply(inputs, &ids));
    return inner_->Predict(numbers);
  }
  NamedViews weights() const override { return inner_->weights(); }
  const std::vector<PortSpec>& inputs() const override { return inputs_; }
  const std::vector<PortSpec>& outputs() const override { return inner_->outputs(); }
  bool rows_independent() const override { return inner_->rows_independent(); }
  int64_t memory_bytes() const override { return inner_->memory_bytes(); }
  std::string Profile() const override { return inner_->Profile(); }

 private:
  const Front front_;
  const std::unique_ptr<Version> inner_;
  const std::vector<PortSpec> inputs_;
};

}  // namespace

std::vector<PortSpec> RawPorts(const v1::Model& model) {
  std::vector<PortSpec> ports;
  for (const v1::Input& input : model.inputs()) {
    const bool text = input.dtype() == v1::BYTES;
    PortSpec& port = ports.emplace_back(PortSpec{input.name(), text ? DType::kU8 : ElementType(input.dtype()), {}});
    if (!input.has_batched() || input.batched()) port.shape.push_back(input.has_batch_size() ? input.batch_size() : -1);
    for (int64_t d : input.shape()) port.shape.push_back(d);
    if (text) port.shape.push_back(-1);
  }
  return ports;
}

std::unique_ptr<TrainSession> MakeStagedSession(const v1::Model& model, FeatureStage stage,
                                                std::unique_ptr<TrainSession> inner) {
  return std::make_unique<StagedSession>(model, std::move(stage), std::move(inner));
}

std::unique_ptr<Version> MakeStagedVersion(const v1::Model& model, FeatureStage stage, std::unique_ptr<Version> inner) {
  return std::make_unique<StagedVersion>(model, std::move(stage), std::move(inner));
}

}  // namespace strata
