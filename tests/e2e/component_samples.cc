#include "tests/e2e/component_samples.h"

#include <map>

namespace strata::e2e {
namespace {

template <typename T>
const T* Find(const std::map<std::string, T>& all, const std::string& name) {
  const auto it = all.find(name);
  return it == all.end() ? nullptr : &it->second;
}

constexpr char kSigmoid[] = "layers { sigmoid {} }";
constexpr char kSoftmax[] = "layers { softmax { axis: -1 } }";
constexpr char kLogSoftmax[] = "layers { log_softmax { axis: -1 } }";

}  // namespace

const LossSample* FindLoss(const std::string& name) {
  static const std::map<std::string, LossSample> kAll = {
      {"mean_squared_error", {}},
      {"mean_absolute_error", {}},
      {"mean_squared_logarithmic_error", {.keras_head = kSigmoid, .target = Target::kPositive}},
      {"mean_absolute_percentage_error", {.target = Target::kPositive}},
      {"smooth_l1", {"beta: 0.5"}},
      {"huber", {"delta: 0.7"}},
      {"log_cosh", {}},
      {"binary_cross_entropy_probabilities", {.pytorch_head = kSigmoid, .target = Target::kBinary}},
      {"binary_cross_entropy_logits", {.target = Target::kBinary}},
      {"binary_crossentropy", {.keras_head = kSigmoid, .target = Target::kBinary}},
      {"binary_focal_crossentropy", {.keras_head = kSigmoid, .target = Target::kBinary}},
      {"focal", {.pytorch_head = kSigmoid, .keras_head = kSigmoid, .target = Target::kBinary}},
      {"cross_entropy", {.target = Target::kClasses}},
      {"negative_log_likelihood", {.pytorch_head = kLogSoftmax, .target = Target::kClasses}},
      {"categorical_crossentropy", {.keras_head = kSoftmax, .target = Target::kOneHot}},
      {"sparse_categorical_crossentropy", {.keras_head = kSoftmax, .target = Target::kClasses}},
      {"hinge", {.target = Target::kSigns}},
      {"squared_hinge", {.target = Target::kSigns}},
      {"categorical_hinge", {.target = Target::kOneHot}},
      {"kl_divergence", {.keras_head = kSoftmax, .target = Target::kProbabilities}},
      {"poisson", {.keras_head = kSigmoid, .target = Target::kPositive}},
      {"cosine_similarity", {}},
      {"poisson_nll", {.target = Target::kPositive}},
      {"hinge_embedding", {.target = Target::kSigns}},
      {"kl_div", {"reduction: BATCH_MEAN", kLogSoftmax, "", Target::kProbabilities}},
      {"margin_ranking", {"margin: 0.5", "", "", Target::kSigns, 1}},
      {"multi_label_margin", {.target = Target::kLabels}},
      {"soft_margin", {.target = Target::kSigns}},
      {"multi_label_soft_margin", {.target = Target::kBinary}},
      {"cosine_embedding", {"margin: 0.2", "", "", Target::kRowSigns, 1}},
      {"multi_margin", {"p: 2", "", "", Target::kClasses}},
      {"triplet_margin", {"margin: 3", "", "", Target::kNone, 2}},
      {"ctc", {"", kLogSoftmax, "", Target::kAlignment}},
      {"adaptive_log_softmax", {"in_features: 3 n_classes: 6 cutoffs: 2", "", "", Target::kClasses}},
      {"custom", {"definition { name: 'Square' kind: LOSS body: '(y_true - y_pred) ** 2' }"}},
  };
  return Find(kAll, name);
}

const MetricSample* FindMetric(const std::string& name) {
  static const std::map<std::string, MetricSample> kAll = {
      {"accuracy", {"", Target::kClasses}},
      {"loss", {"log_cosh {}"}},
      {"exact_accuracy", {}},
      {"binary_accuracy", {"threshold: 0.4", Target::kBinary}},
      {"categorical_accuracy", {"", Target::kOneHot}},
      {"sparse_categorical_accuracy", {"", Target::kClasses}},
      {"top_k_categorical_accuracy", {"k: 2", Target::kOneHot}},
      {"sparse_top_k_categorical_accuracy", {"k: 2", Target::kClasses}},
      {"fbeta_score", {"beta: 2 average: 'macro'", Target::kBinary}},
      {"f1_score", {"average: 'macro'", Target::kBinary}},
      {"true_positives", {"", Target::kBinary}},
      {"true_negatives", {"", Target::kBinary}},
      {"false_positives", {"", Target::kBinary}},
      {"false_negatives", {"", Target::kBinary}},
      {"sensitivity_at_specificity", {"specificity: 0.5", Target::kBinary}},
      {"specificity_at_sensitivity", {"sensitivity: 0.5", Target::kBinary}},
      {"precision_at_recall", {"recall: 0.5", Target::kBinary}},
      {"recall_at_precision", {"precision: 0.5", Target::kBinary}},
      {"mean_iou", {"num_classes: 3 sparse_y_pred: false sparse_y_true: false", Target::kOneHot}},
      {"r2_score", {}},
      {"crossentropy", {"", Target::kOneHot}},
      {"precision", {"", Target::kBinary}},
      {"recall", {"threshold: 0.3", Target::kBinary}},
      {"auc", {"num_thresholds: 20", Target::kBinary}},
      {"mean_squared_error", {}},
      {"mean_absolute_error", {}},
      {"root_mean_squared_error", {}},
      {"cosine_similarity", {}},
      {"custom", {"definition { name: 'Mine' kind: METRIC body: 'abs(y_true - y_pred)' }"}},
  };
  return Find(kAll, name);
}

const PlainSample* FindPlain(const std::string& family, const std::string& name) {
  static const std::map<std::string, PlainSample> kOptimizers = {
      {"sgd", {"learning_rate: 0.1 momentum: 0.5", "learning_rate: 0.1 nesterov: true momentum: 0.5"}},
      {"adam", {"learning_rate: 0.01 amsgrad: true", "learning_rate: 0.01"}},
      {"adamw", {"learning_rate: 0.01", "learning_rate: 0.01"}},
      {"rmsprop", {"learning_rate: 0.01", "learning_rate: 0.01"}},
      {"adagrad", {"learning_rate: 0.1", "learning_rate: 0.1"}},
      {"adadelta", {"learning_rate: 1", "learning_rate: 1"}},
      {"adamax", {"learning_rate: 0.01", "learning_rate: 0.01"}},
      {"nadam", {"learning_rate: 0.01", "learning_rate: 0.01"}},
      {"lion", {"", "learning_rate: 0.01"}},
  };
  // Each changes the rate within four epochs of one step each.
  static const std::map<std::string, PlainSample> kSchedules = {
      {"exponential", {"decay_rate: 0.5", "decay_rate: 0.5 initial_learning_rate: 0.1 decay_steps: 1"}},
      {"step", {"step_size: 2", ""}},
      {"multi_step", {"milestones: 1 milestones: 3", ""}},
      {"piecewise_constant", {"", "boundaries: 1 boundaries: 2 values: 0.3 values: 0.2 values: 0.1"}},
      {"polynomial", {"decay_steps: 3", "decay_steps: 3 initial_learning_rate: 0.1 power: 2"}},
      {"linear", {"total_iters: 3", ""}},
      {"constant", {"total_iters: 2", ""}},
      {"inverse_time", {"", "initial_learning_rate: 0.1 decay_steps: 1 decay_rate: 1"}},
      {"cosine", {"decay_steps: 4", "decay_steps: 4 initial_learning_rate: 0.1"}},
      {"cosine_restarts", {"first_decay_steps: 3", "first_decay_steps: 3 initial_learning_rate: 0.1"}},
      {"plateau", {"patience: 0 threshold: 10 mode: 'max'", "patience: 1 threshold: 10 mode: 'max'"}},
      {"one_cycle", {"max_learning_rate: 0.5 total_steps: 10", ""}},
      {"lambda", {"expression: '0.5 ** epoch'", "expression: '0.5 ** epoch'"}},
      {"multiplicative", {"expression: '0.9'", ""}},
  };
  static const std::map<std::string, PlainSample> kInitializers = {
      {"zeros", {}},
      {"ones", {}},
      {"constant", {"value: 0.3", "value: 0.3"}},
      {"uniform", {"low: -1", "seed: 3"}},
      {"normal", {"stddev: 0.5", "stddev: 0.5"}},
      {"truncated_normal", {"low: -1 high: 1", "stddev: 0.1"}},
      {"variance_scaling", {"mode: FAN_AVG", "distribution: UNIFORM"}},
      {"orthogonal", {"gain: 2", "gain: 2"}},
      {"identity", {"", "gain: 2"}},
  };
  static const std::map<std::string, PlainSample> kConstraints = {
      {"max_norm", {"max_value: 1", "max_value: 1"}},         {"non_neg", {}}, {"unit_norm", {}},
      {"min_max_norm", {"min_value: 0.5", "min_value: 0.5"}}, {"radial", {}},
  };
  static const std::map<std::string, PlainSample> kActivations = {
      {"linear", {}},
      {"sigmoid", {}},
      {"softmax", {"axis: -1", ""}},
      {"tanh", {}},
      {"relu", {}},
      {"leaky_relu", {}},
      {"elu", {}},
      {"selu", {}},
      {"silu", {}},
      {"gelu", {}},
      {"log_softmax", {"axis: -1", ""}},
      {"softplus", {}},
      {"softsign", {}},
      {"hard_sigmoid", {}},
      {"mish", {}},
      {"relu6", {}},
      {"exponential", {}},
  };
  if (family == "optimizer") return Find(kOptimizers, name);
  if (family == "schedule") return Find(kSchedules, name);
  if (family == "initializer") return Find(kInitializers, name);
  if (family == "constraint") return Find(kConstraints, name);
  if (family == "activation") return Find(kActivations, name);
  return nullptr;
}

}  // namespace strata::e2e
