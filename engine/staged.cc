#include "engine/staged.h"

#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/train/forward.h"

namespace strata {
namespace {

// Turns a batch of raw features into a batch of the model of numbers.
class Front {
 public:
  // `list` is what errors call the batch: tensors, inputs.
  Front(const v1::Model& model, FeatureStage stage, std::string list)
      : stage_(std::move(stage)), list_(std::move(list)) {
    for (const v1::Input& input : model.inputs()) {
      inputs_[input.name()] = input;
      raw_only_.insert(input.name());
    }
    for (const v1::Input& input : stage_.model().inputs()) raw_only_.erase(input.name());
  }

  // `ids` owns what the views of derived inputs borrow.
  absl::StatusOr<NamedViews> Apply(const NamedViews& batch, NamedTensors* ids) const {
    STRATA_RETURN_IF_ERROR(Check(batch));
    Features features;
    for (const std::string& name : stage_.features()) features[name] = FeatureOf(batch.at(name));
    absl::StatusOr<NamedTensors> applied = stage_.Apply(features);
    if (!applied.ok()) return InvalidArgument(list_, std::string(applied.status().message()));
    *ids = *std::move(applied);
    NamedViews out;
    for (const auto& [name, view] : batch) {
      if (raw_only_.count(name) == 0) out[name] = view;
    }
    for (const auto& [name, tensor] : *ids) out[name] = tensor.view();
    return out;
  }

 private:
  // Features that the stage reads are given; every input of the model fits its definition and the others.
  absl::Status Check(const NamedViews& batch) const {
    for (const std::string& name : stage_.features()) {
      if (batch.count(name) == 0) return InvalidArgument(list_, "[\"", name, "\"]: must be given, got nothing");
    }
    int64_t rows = -1;
    for (const auto& [name, input] : inputs_) {
      const auto it = batch.find(name);
      if (it == batch.end()) continue;  // the model of numbers asks for it
      const std::string path = absl::StrCat(list_, "[\"", name, "\"]");
      const Shape& shape = it->second.shape;
      STRATA_RETURN_IF_ERROR(CheckInput(path, input, {name, it->second.dtype, shape}));
      if (shape.empty()) return InvalidArgument(path, ".shape: must have a batch axis, got []");
      if (rows >= 0 && shape[0] != rows) {
        return InvalidArgument(path, ".shape: must have ", rows, " rows like the other inputs, got ", shape[0]);
      }
      rows = shape[0];
    }
    return absl::OkStatus();
  }

  static Feature FeatureOf(const TensorView& view) {
    Feature feature;
    feature.shape = view.shape;
    feature.numbers = view;
    feature.is_text = view.dtype == DType::kText;
    if (feature.is_text) {
      const auto* texts = view.as<std::string_view>();
      feature.texts.assign(texts, texts + view.num_elements());
    }
    return feature;
  }

  const FeatureStage stage_;
  const std::string list_;
  std::map<std::string, v1::Input> inputs_;
  std::set<std::string> raw_only_;
};

class StagedSession final : public TrainSession {
 public:
  StagedSession(const v1::Model& model, FeatureStage stage, std::unique_ptr<TrainSession> inner)
      : front_(model, std::move(stage), "tensors"), inner_(std::move(inner)) {}

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
      : front_(model, std::move(stage), "inputs"), inner_(std::move(inner)), inputs_(RawPorts(model)) {}

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
    PortSpec& port = ports.emplace_back(PortSpec{input.name(), ElementType(input.dtype()), {}});
    if (!input.has_batched() || input.batched()) port.shape.push_back(input.has_batch_size() ? input.batch_size() : -1);
    for (int64_t d : input.shape()) port.shape.push_back(d);
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
