// The input stage of tabular models: host code that turns named features (texts, ids, numbers) into the ids that the
// graph reads. Texts never enter a graph.
//
//   STRATA_ASSIGN_OR_RETURN(FeatureStage stage, FeatureStage::Create(complete_model));
//   Version::Create(stage.model(), weights, options);          // a model of numbers
//   STRATA_ASSIGN_OR_RETURN(NamedTensors ids, stage.Apply(features));  // its derived inputs
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/tensor.h"
#include "strata/v1/feature_columns.pb.h"
#include "strata/v1/model.pb.h"

namespace strata {

// A batch of one feature: texts or numbers, batch axis first. Borrows what it names.
struct Feature {
  Shape shape;
  std::vector<std::string_view> texts;  // of a text feature, in row-major order
  TensorView numbers;                   // of any other
  bool is_text = false;
};
using Features = std::map<std::string, Feature>;

// Which edge of a call of DenseFeatures carries each feature, by the feature's name: arguments by name, positional ones
// whose input has a feature's name, the others in the order of the remaining names. INVALID_ARGUMENT, below `path`, for
// a feature without an argument.
absl::StatusOr<std::map<std::string, v1::Edge>> FeatureEdges(const std::string& path, const v1::Call& call,
                                                             const v1::DenseFeatures& layer);

// Immutable once made; thread-safe.
class FeatureStage {
 public:
  // `model` must be complete. INVALID_ARGUMENT for a categorical column whose feature is no input of the model, or
  // whose vocabulary is no asset of it; for texts that something else reads.
  static absl::StatusOr<FeatureStage> Create(const v1::Model& model);

  // Nothing to do: `model()` is the model as it was.
  bool empty() const { return derived_.empty(); }
  // The model that reads ids and numbers only.
  const v1::Model& model() const { return model_; }
  // Inputs of the given model that Apply reads.
  const std::vector<std::string>& features() const { return features_; }

  // The derived inputs of a batch: int64 [N, K], -1 where a row has fewer ids. INVALID_ARGUMENT names the feature:
  // ["age"]: rule, got value.
  absl::StatusOr<NamedTensors> Apply(const Features& features) const;

 private:
  struct Derived {
    std::string input;         // of model()
    v1::FeatureColumn column;  // categorical
  };

  // Makes the call and the layer of `model_` with these indices read ids and numbers.
  absl::Status Rewrite(const v1::Model& given, int call_index, int layer_index);

  v1::Model model_;
  std::vector<Derived> derived_;
  std::vector<std::string> features_;
  std::map<std::string, std::map<std::string, int64_t, std::less<>>> vocabularies_;  // by derived input
};

}  // namespace strata
