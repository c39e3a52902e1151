// Definitions in the frameworks' own words.
//
//   ImportKeras(R"({"class_name": "Sequential", "config": {...}})")   // model.to_json()
//   ImportPytorch(R"({"class_name": "Sequential", "config": {"layers": [{"class_name": "Linear", "config": {...}}]}})",
//   inputs)
//
// Errors: INVALID_ARGUMENT that names the argument in the framework's spelling ("config.layers[2].kernel_size: must be
// >= 1, got 0"), UNIMPLEMENTED for a class that Strata does not have ("layers[2]: class_name: no component for keras
// Attention").
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/shape.h"
#include "strata/v1/custom.pb.h"
#include "strata/v1/losses.pb.h"
#include "strata/v1/metrics.pb.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/optimizers.pb.h"
#include "strata/v1/schema.pb.h"
#include "strata/v1/training.pb.h"

namespace strata {

// Custom components that class names and function names may mean: Keras' custom_objects.
using Definitions = google::protobuf::RepeatedPtrField<v1::CustomComponent>;

absl::StatusOr<v1::Model> ImportKeras(std::string_view json, const Definitions& custom = {});
absl::StatusOr<v1::Model> ImportPytorch(std::string_view json, const std::vector<v1::Input>& inputs,
                                        const Definitions& custom = {});

// One component: {"class_name", "config"}, {"function", "config"} or a string that the framework's `get` accepts.
absl::StatusOr<v1::Layer> ImportLayer(v1::Dialect dialect, std::string_view json, const Definitions& custom = {});
// Whether a framework takes this call: Keras' merge layers take a list (of one, even), all others take tensors.
absl::Status CheckCallForm(const v1::Layer& layer, bool as_list);
absl::StatusOr<v1::Loss> ImportLoss(v1::Dialect dialect, std::string_view json, const Definitions& custom = {});
absl::StatusOr<v1::Metric> ImportMetric(v1::Dialect dialect, std::string_view json, const Definitions& custom = {});
absl::StatusOr<v1::Optimizer> ImportOptimizer(v1::Dialect dialect, std::string_view json);
// A scheduler of torch.optim.lr_scheduler, a schedule of keras.optimizers.schedules, or Keras' ReduceLROnPlateau.
absl::StatusOr<v1::Schedule> ImportSchedule(v1::Dialect dialect, std::string_view json);
absl::StatusOr<v1::Initializer> ImportInitializer(v1::Dialect dialect, std::string_view json);
absl::StatusOr<v1::Regularizer> ImportRegularizer(std::string_view json);  // Keras
absl::StatusOr<v1::Constraint> ImportConstraint(std::string_view json);    // Keras

// PyTorch: {"params": [names], option: value, ...}; what the group does not set is `optimizer`'s.
absl::StatusOr<v1::ParameterGroup> ImportParameterGroup(const v1::Optimizer& optimizer, std::string_view json);
// clip_grad_norm_ or clip_grad_value_ of torch.nn.utils, as a component.
absl::StatusOr<v1::Clipping> ImportClipping(std::string_view json);

// The other direction: {"class_name", "config"} with every argument, as get_config() and serialize() write it (Keras),
// or with the arguments that differ from their defaults (PyTorch). UNIMPLEMENTED for what the framework lacks.
absl::StatusOr<std::string> ExportLayer(v1::Dialect dialect, const v1::Layer& layer);
absl::StatusOr<std::string> ExportLoss(v1::Dialect dialect, const v1::Loss& loss);
// Keras; "accuracy", which compile() resolves by shapes, stays a text.
absl::StatusOr<std::string> ExportMetric(const v1::Metric& metric);
absl::StatusOr<std::string> ExportOptimizer(v1::Dialect dialect, const v1::Optimizer& optimizer);
// compute_output_shape(): the shapes of a layer's outputs; -1 is an unknown size.
absl::StatusOr<std::vector<Shape>> ComputeOutputShape(v1::Dialect dialect, const v1::Layer& layer,
                                                      const std::vector<Shape>& inputs);
// model.to_json() of tf.keras 2: Sequential for a chain that is not `functional`, otherwise Functional.
absl::StatusOr<std::string> ExportKeras(const v1::Model& model);
// The tree that ImportPytorch reads. UNIMPLEMENTED for a model that is no chain: torch.nn has no class for its forward.
absl::StatusOr<std::string> ExportPytorch(const v1::Model& model);
// Python text that defines the class Model and makes one as `model`; its state dict has the model's names.
absl::StatusOr<std::string> ExportPytorchSource(const v1::Model& model);

// compile()'s arguments as Keras' files hold them, for the outputs of a complete model. UNIMPLEMENTED names every
// optimizer and loss that there is none of, by path; metrics that there are none of go to `left_out`, with the reason.
absl::StatusOr<v1::TrainingConfig> ImportKerasTraining(const v1::Model& model, std::string_view json,
                                                       const Definitions& custom = {},
                                                       std::vector<std::string>* left_out = nullptr);
// Users' functions are names in an HDF5 file and objects in an archive.
enum class KerasContainer { kHdf5, kArchive };
absl::StatusOr<std::string> ExportKerasTraining(const v1::Model& model, const v1::TrainingConfig& config,
                                                KerasContainer container);
// torch.nn.init.calculate_gain.
absl::StatusOr<double> CalculateGain(const std::string& nonlinearity, double negative_slope);

}  // namespace strata
