// Custom components: definitions as text (protos/strata/v1/custom.proto), completed and built like any other component.
//
// A use (CustomLayer, CustomLoss, CustomMetric) names a component. Resolve puts the definition into the use; from then
// on the use stands for itself, wherever the definition came from.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/expr/evaluate.h"
#include "engine/nn/scope.h"
#include "google/protobuf/message.h"
#include "strata/v1/custom.pb.h"
#include "strata/v1/losses.pb.h"
#include "strata/v1/metrics.pb.h"
#include "strata/v1/model.pb.h"

namespace strata::nn {

using Definitions = google::protobuf::RepeatedPtrField<v1::CustomComponent>;

// Checks everything of a definition that needs no shapes: names, texts, hyper-parameters. Fills the version and the
// initializers' defaults where `dialect` is given. INVALID_ARGUMENT "path.body:line:column: rule, got value".
absl::Status CompleteDefinition(v1::Dialect dialect, const std::string& path, v1::CustomComponent* definition);
// The same for a list; a name and version may stand there once.
absl::Status CompleteDefinitions(v1::Dialect dialect, const std::string& path, Definitions* definitions);

// Gives every use inside `message` that has no definition the one it names, the last of that name if it names no
// version. Leaves those alone that nobody defines: CompleteUse refuses them.
absl::Status Resolve(const Definitions& definitions, google::protobuf::Message* message);
// The components, "name" or "name:version", that uses inside `message` name and that stand neither there nor in the
// `custom_components` of a model or training configuration in it.
std::set<std::string> UnresolvedComponents(const google::protobuf::Message& message);

// Checks a use and fills hyper-parameters that it leaves to their defaults. Part of Fill (nn/schema.h): `message` is a
// CustomLayer, CustomLoss or CustomMetric.
absl::Status CompleteUse(v1::Dialect dialect, const std::string& path, google::protobuf::Message* message);

// The model that a block stands for, with its hyper-parameters' values in place.
absl::StatusOr<v1::Model> ExpandBlock(const std::string& path, const v1::CustomLayer& use);

// Building, in a scope whose path is the use's.
Outputs BuildCustomLayer(Scope& s, const v1::CustomLayer& use, const Args& args);
// Values of a loss or metric. `more` are further predictions.
std::vector<Value> BuildCustomValues(Scope& s, const v1::CustomComponent& definition,
                                     const google::protobuf::Struct& hyperparameters, Value target, Value prediction,
                                     const std::vector<Annotated>& more);
// Declares the weights of a loss. Their shapes follow predictions and hyper-parameters.
void DeclareCustomWeights(Scope& s, const v1::CustomLoss& use, Value prediction, const std::vector<Annotated>& more);
// Shapes of a custom cell's states for a batch; empty if it is no cell.
std::vector<Shape> CustomStateShapes(const v1::CustomLayer& use, int64_t batch);

// ---------------------------------------------------------------------------------------------- Between files of here

// Checks a value against a declared type; null is a value of every type.
absl::Status CheckHyperparameter(const std::string& path, v1::Hyperparameter::Type type,
                                 const google::protobuf::Value& v);
// Checks a value, or every item of a list, against the declared range; null fits every range.
absl::Status CheckRangeOf(const std::string& path, const v1::Hyperparameter& h, const google::protobuf::Value& v);
// Checks that the declared range is one, and fits the type.
absl::Status CheckRangeItself(const std::string& path, const v1::Hyperparameter& h);
// A value as errors quote it.
std::string ValueText(const google::protobuf::Value& v);
// Hyper-parameters as names of the language. The use is complete.
std::map<std::string, expr::Object> HyperparameterValues(const v1::CustomComponent& definition,
                                                         const google::protobuf::Struct& values);
// Whether a loss or metric takes its target before its predictions, or behind all of them.
bool TargetFirst(v1::Dialect dialect, const v1::CustomComponent& definition);
// The names of the tensors that the body takes.
std::vector<std::string> InputNames(v1::Dialect dialect, const v1::CustomComponent& definition);
// "uniform(-1 / sqrt(n), 1 / sqrt(n))" as an initializer, with defaults of `dialect`. Errors have places.
absl::StatusOr<v1::Initializer> InitializerFrom(v1::Dialect dialect, const std::string& text,
                                                expr::Evaluator& evaluator);
absl::Status CheckInitializer(const std::string& text, const std::set<std::string>& names);

}  // namespace strata::nn
