#include "engine/import/framework.h"
#include "engine/inspect.h"
#include "engine/kernels/kernel.h"
#include "engine/nn/reference.h"
#include "service/core/engine.h"

namespace strata::service {
namespace {

class RealEngine final : public Engine {
 public:
  absl::StatusOr<v1::Model> Complete(const v1::Model& model) const override { return strata::Complete(model); }
  absl::StatusOr<ModelFacts> Inspect(const v1::Model& model, const v1::TrainingConfig* config,
                                     int64_t batch_size) const override {
    return strata::Inspect(model, config, batch_size);
  }
  absl::StatusOr<std::string> Summarize(const v1::Model& model, const SummaryOptions& options) const override {
    return strata::Summarize(model, options);
  }
  std::vector<v1::ComponentInfo> Components() const override { return nn::DescribeComponents(); }
  absl::StatusOr<std::unique_ptr<TrainSession>> CreateSession(const v1::Model& model, const v1::TrainingConfig& config,
                                                              const SessionOptions& options) const override {
    return TrainSession::Create(model, config, options);
  }
  absl::StatusOr<std::unique_ptr<Version>> CreateVersion(const v1::Model& model, NamedTensors weights,
                                                         const SessionOptions& options) const override {
    return Version::Create(model, std::move(weights), options);
  }
  absl::StatusOr<v1::Model> Import(v1::Dialect dialect, const std::string& json, const std::vector<v1::Input>& inputs,
                                   const CustomComponents& custom) const override {
#ifdef STRATA_NO_IMPORT
    (void)dialect, (void)json, (void)inputs, (void)custom;
    return absl::UnimplementedError("framework: this server is built without the importer");
#else
    return dialect == v1::KERAS ? ImportKeras(json, custom) : ImportPytorch(json, inputs, custom);
#endif
  }
  absl::StatusOr<std::string> Export(const v1::Model& model, v1::FileFormat format) const override {
    switch (format) {
      case v1::KERAS_DEFINITION:
        return ExportKeras(model);
      case v1::PYTORCH_DEFINITION:
        return ExportPytorch(model);
      case v1::PYTORCH_SOURCE:
        return ExportPytorchSource(model);
      default:
        return Engine::Export(model, format);
    }
  }
  absl::StatusOr<Conversion> Convert(const v1::Model& model, v1::Dialect to) const override {
    return ConvertModel(model, to);
  }
  absl::StatusOr<v1::TrainingConfig> ImportTraining(const v1::Model& model, const std::string& json,
                                                    const CustomComponents& custom,
                                                    std::vector<std::string>* left_out) const override {
    return ImportKerasTraining(model, json, custom, left_out);
  }
  absl::StatusOr<std::string> ExportTraining(const v1::Model& model, const v1::TrainingConfig& config,
                                             v1::FileFormat format) const override {
    const bool archive = format == v1::KERAS_ARCHIVE;
    return ExportKerasTraining(model, config, archive ? KerasContainer::kArchive : KerasContainer::kHdf5);
  }
  absl::StatusOr<NamedTensors> InitialWeights(const v1::Model& model) const override {
    constexpr uint64_t kSeed = 0;
    return strata::InitialWeights(model, kSeed);
  }
  std::string instruction_set() const override { return InstructionSet(); }
  absl::StatusOr<v1::CustomComponent> CheckComponent(const v1::CustomComponent& component) const override {
    return strata::CheckComponent(component);
  }
  void AddComponents(const CustomComponents& known, v1::Model* model) const override {
    strata::AddComponents(known, model);
  }
  void AddComponents(const CustomComponents& known, v1::TrainingConfig* config) const override {
    strata::AddComponents(known, config);
  }
};

}  // namespace

std::unique_ptr<Engine> MakeRealEngine() { return std::make_unique<RealEngine>(); }

}  // namespace strata::service
