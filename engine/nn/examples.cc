#include "engine/nn/examples.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "engine/base/status.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/json_util.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/training.pb.h"

namespace strata::nn {
namespace {

// Attributes of components that need some, or that are clearer with some; all others are shown with none. Schedules are
// PyTorch's where both dialects have them.
std::string_view AttributesFor(std::string_view family, std::string_view name) {
  struct Row {
    std::string_view family, name, attributes;
  };
  static constexpr Row kRows[] = {
      {"activation", "leaky_relu", "negative_slope: 0.2"},
      {"activation", "softmax", "axis: -1"},
      {"constraint", "max_norm", "max_value: 3"},
      {"constraint", "min_max_norm", "min_value: 0.5 max_value: 2"},
      {"initializer", "constant", "value: 0.1"},
      {"initializer", "normal", "stddev: 0.02"},
      {"initializer", "uniform", "low: -0.1 high: 0.1"},
      {"initializer", "variance_scaling", "scale: 2 mode: FAN_IN distribution: TRUNCATED_NORMAL"},
      {"loss", "adaptive_log_softmax", "in_features: 64 n_classes: 10000 cutoffs: [100, 1000]"},
      {"loss", "cross_entropy", "label_smoothing: 0.1 ignore_index: -1"},
      {"loss", "custom",
       "definition { name: 'Focal' kind: LOSS hyperparameters { name: 'gamma' default { number_value: 2 } } "
       "body: 'p = y_true * y_pred + (1 - y_true) * (1 - y_pred)\\n-(1 - p) ** gamma * log(clip(p, 1e-7, 1))' }"},
      {"loss", "focal", "gamma: 2 alpha: 0.75"},
      {"loss", "huber", "delta: 0.5"},
      {"loss", "kl_div", "reduction: BATCH_MEAN"},
      {"metric", "auc", "curve: 'PR'"},
      {"metric", "custom", "definition { name: 'MeanError' kind: METRIC body: 'mean(abs(y_true - y_pred))' }"},
      {"metric", "f1_score", "average: 'macro'"},
      {"metric", "fbeta_score", "beta: 2 average: 'macro'"},
      {"metric", "loss", "log_cosh {}"},
      {"metric", "mean_iou", "num_classes: 10 sparse_y_pred: false"},
      {"metric", "precision_at_recall", "recall: 0.9"},
      {"metric", "recall_at_precision", "precision: 0.9"},
      {"metric", "sensitivity_at_specificity", "specificity: 0.9"},
      {"metric", "specificity_at_sensitivity", "sensitivity: 0.9"},
      {"metric", "top_k_categorical_accuracy", "k: 3"},
      {"optimizer", "sgd", "learning_rate: 0.1 momentum: 0.9"},
      {"schedule", "constant", "factor: 0.1 total_iters: 5"},
      {"schedule", "cosine", "decay_steps: 100"},
      {"schedule", "cosine_restarts", "first_decay_steps: 10"},
      {"schedule", "exponential", "decay_rate: 0.95"},
      {"schedule", "inverse_time", "initial_learning_rate: 0.1 decay_steps: 100 decay_rate: 0.5"},
      {"schedule", "lambda", "expression: '0.95 ** epoch'"},
      {"schedule", "linear", "start_factor: 0.1 total_iters: 5"},
      {"schedule", "multi_step", "milestones: [30, 80]"},
      {"schedule", "multiplicative", "expression: '0.95'"},
      {"schedule", "one_cycle", "max_learning_rate: 0.5 total_steps: 1000"},
      {"schedule", "piecewise_constant", "boundaries: [100, 200] values: [0.1, 0.01, 0.001]"},
      {"schedule", "polynomial", "decay_steps: 100 power: 2"},
      {"schedule", "step", "step_size: 30"},
  };
  for (const Row& row : kRows) {
    if (row.family == family && row.name == name) return row.attributes;
  }
  return "";
}

template <typename M>
Example As(const std::string& text) {
  M message;
  STRATA_CHECK(google::protobuf::TextFormat::ParseFromString(text, &message));
  Example example{message.GetDescriptor()->full_name(), ""};
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  STRATA_CHECK(google::protobuf::util::MessageToJsonString(message, &example.json, options).ok());
  return example;
}

}  // namespace

Example ExampleOf(std::string_view family, std::string_view name) {
  const std::string use = absl::StrCat(std::string(name), " { ", std::string(AttributesFor(family, name)), " }");
  const auto config = [&](const char* around) { return As<v1::TrainingConfig>(absl::Substitute(around, use)); };
  const auto layer = [&](const char* field) {
    return As<v1::Layer>(absl::Substitute("linear { units: 8 $0 { $1 } }", field, use));
  };
  if (family == "loss") return config("objectives { loss { $0 } }");
  if (family == "metric") return config("metrics { metric { $0 } }");
  if (family == "optimizer") return config("optimizer { $0 }");
  if (family == "schedule") return config("optimizer { sgd { learning_rate: 0.1 } schedule { $0 } }");
  if (family == "activation") return layer("activation");
  if (family == "initializer") return layer("kernel_initializer");
  if (family == "constraint") return layer("kernel_constraint");
  return {};
}

}  // namespace strata::nn
