#include "engine/import/framework.h"
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
  absl::StatusOr<std::string> Summarize(const v1::Model& model, const std::string& style) const override {
    return strata::Summarize(model, style);
  }
  absl::StatusOr<std::unique_ptr<TrainSession>> CreateSession(const v1::Model& model, const v1::TrainingConfig& config,
                                                              const SessionOptions& options) const override {
    return TrainSession::Create(model, config, options);
  }
  absl::StatusOr<std::unique_ptr<Version>> CreateVersion(const v1::Model& model, const NamedTensors& weights,
                                                         const SessionOptions& options) const override {
    return Version::Create(model, weights, options);
  }
  absl::StatusOr<v1::Model> Import(v1::Dialect dialect, const std::string& json,
                                   const std::vector<v1::Input>& inputs) const override {
#ifdef STRATA_NO_IMPORT
    (void)dialect, (void)json, (void)inputs;
    return absl::UnimplementedError("framework: this server is built without the importer");
#else
    return dialect == v1::KERAS ? ImportKeras(json) : ImportPytorch(json, inputs);
#endif
  }
};

}  // namespace

std::unique_ptr<Engine> MakeRealEngine() { return std::make_unique<RealEngine>(); }

}  // namespace strata::service
