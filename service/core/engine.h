// The engine as the service calls it (engine/session.h), behind an interface so that tests can put a small one in its
// place.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/convert/convert.h"
#include "engine/session.h"
#include "strata/v1/services.pb.h"

namespace strata::service {

// Thread-safe. Each function blocks while it works.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual absl::StatusOr<v1::Model> Complete(const v1::Model& model) const = 0;
  virtual absl::StatusOr<ModelFacts> Inspect(const v1::Model& model, const v1::TrainingConfig* config,
                                             int64_t batch_size) const = 0;
  virtual absl::StatusOr<std::string> Summarize(const v1::Model& model, const SummaryOptions& options) const = 0;
  // Every component of every family.
  virtual std::vector<v1::ComponentInfo> Components() const = 0;
  virtual absl::StatusOr<std::unique_ptr<TrainSession>> CreateSession(const v1::Model& model,
                                                                      const v1::TrainingConfig& config,
                                                                      const SessionOptions& options) const = 0;
  virtual absl::StatusOr<std::unique_ptr<Version>> CreateVersion(const v1::Model& model, NamedTensors weights,
                                                                 const SessionOptions& options) const = 0;
  // A definition in the words of a framework; `inputs` where the text has none, `custom` what its class names may mean
  // besides the framework's own.
  virtual absl::StatusOr<v1::Model> Import(v1::Dialect dialect, const std::string& json,
                                           const std::vector<v1::Input>& inputs,
                                           const CustomComponents& custom) const = 0;
  // Of its kernels on this machine: a run gives equal bits only with an equal one.
  virtual std::string instruction_set() const { return "unknown"; }
  // Custom components, as engine/session.h has them.
  virtual absl::StatusOr<v1::CustomComponent> CheckComponent(const v1::CustomComponent& component) const = 0;
  virtual void AddComponents(const CustomComponents& known, v1::Model* model) const = 0;
  virtual void AddComponents(const CustomComponents& known, v1::TrainingConfig* config) const = 0;
  // The definition as a file of this format: KERAS_DEFINITION, PYTORCH_DEFINITION or PYTORCH_SOURCE.
  virtual absl::StatusOr<std::string> Export(const v1::Model& model, v1::FileFormat format) const {
    (void)model;
    return absl::UnimplementedError(absl::StrCat("format: no writer for ", v1::FileFormat_Name(format)));
  }
  // The model in the other dialect (engine/convert/convert.h).
  virtual absl::StatusOr<Conversion> Convert(const v1::Model& model, v1::Dialect to) const {
    (void)to;
    return absl::UnimplementedError(absl::StrCat("model: no converter for ", model.name()));
  }
  // Parameters and buffers of a model that nobody has trained.
  virtual absl::StatusOr<NamedTensors> InitialWeights(const v1::Model& model) const {
    return absl::UnimplementedError(absl::StrCat("model: no initial weights for ", model.name()));
  }
  // compile()'s arguments as Keras writes them into a file (`left_out`: metrics that Strata lacks), and back.
  virtual absl::StatusOr<v1::TrainingConfig> ImportTraining(const v1::Model& model, const std::string& json,
                                                            const CustomComponents& custom,
                                                            std::vector<std::string>* left_out) const {
    (void)json, (void)custom, (void)left_out;
    return absl::UnimplementedError(absl::StrCat("training_config: no reader, for ", model.name()));
  }
  // `format` is the file's: KERAS_HDF5 or KERAS_ARCHIVE.
  virtual absl::StatusOr<std::string> ExportTraining(const v1::Model& model, const v1::TrainingConfig& config,
                                                     v1::FileFormat format) const {
    (void)model, (void)config, (void)format;
    return absl::UnimplementedError("training_config: no writer");
  }
};

std::unique_ptr<Engine> MakeRealEngine();

}  // namespace strata::service
