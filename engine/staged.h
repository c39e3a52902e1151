// Sessions and versions of models with feature columns: the input stage in front of the model of numbers.
//
// Features come by name; a text feature (an input of type BYTES) is a tensor of DType::kText.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/features.h"
#include "engine/session.h"

namespace strata {

// `model` is the complete model that `stage` was made from; the inner object runs stage.model().
std::unique_ptr<TrainSession> MakeStagedSession(const v1::Model& model, FeatureStage stage,
                                                std::unique_ptr<TrainSession> inner);
std::unique_ptr<Version> MakeStagedVersion(const v1::Model& model, FeatureStage stage, std::unique_ptr<Version> inner);

// The inputs of a model as its clients give them.
std::vector<PortSpec> RawPorts(const v1::Model& model);

}  // namespace strata
