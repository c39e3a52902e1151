#include "service/core/convert.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/core/names.h"

namespace strata::service {
namespace {

v1::AxisOrder ToMessage(const AxisOrder& order) {
  v1::AxisOrder message;
  message.set_name(order.name);
  for (int64_t axis : order.axes) message.add_axes(axis);
  return message;
}

absl::Status NameTaken(const std::string& name) {
  return absl::AlreadyExistsError(absl::StrCat("name: a model has it, got ", Quote(name)));
}

}  // namespace

absl::StatusOr<std::string> RunToConvert(const ModelRegistry& registry, const v1::ConvertRequest& request,
                                         const std::vector<std::string>& runs) {
  STRATA_ASSIGN_OR_RETURN(const v1::ModelInfo info, registry.Get(request.model()));
  switch (request.weights_case()) {
    case v1::ConvertRequest::kRun:
      return request.run();
    case v1::ConvertRequest::WEIGHTS_NOT_SET:
      return info.serving_version() == 0 && !runs.empty() ? runs.back() : "";
    default:
      return "";
  }
}

absl::StatusOr<v1::ConvertResponse> ConvertModel(ModelRegistry* registry, const Engine& engine,
                                                 const v1::ConvertRequest& request,
                                                 const std::optional<RunWeights>& run) {
  STRATA_RETURN_IF_ERROR(CheckName("name", request.name()));
  STRATA_RETURN_IF_ERROR(CheckText("description", request.description(), 1024));
  STRATA_ASSIGN_OR_RETURN(const auto entry, registry->Find(request.model()));
  if (registry->Find(request.name()).ok()) return NameTaken(request.name());
  STRATA_ASSIGN_OR_RETURN(Conversion conversion, engine.Convert(entry->definition, request.dialect()));
  conversion.model.set_name(request.name());
  STRATA_ASSIGN_OR_RETURN(const v1::Model definition, registry->CompleteModel(conversion.model));

  v1::ConvertResponse response;
  std::string source_run;
  int64_t step = 0;
  std::optional<NamedTensors> weights;
  STRATA_ASSIGN_OR_RETURN(const v1::ModelInfo info, registry->Get(request.model()));
  const bool version = request.has_version() || (!request.has_none() && !run && info.serving_version() != 0);
  if (request.has_version() && request.version() < 1) {
    return InvalidArgument("version: must be >= 1, got ", request.version());
  }
  if (run) {
    STRATA_ASSIGN_OR_RETURN(weights, conversion.Weights(run->tensors));
    source_run = run->run;
    step = run->step;
  } else if (version) {
    STRATA_ASSIGN_OR_RETURN(const v1::VersionInfo old, registry->DescribeVersion(request.model(), request.version()));
    STRATA_ASSIGN_OR_RETURN(const TensorFile file, registry->ReadWeights(request.model(), old.version()));
    STRATA_ASSIGN_OR_RETURN(weights, conversion.Weights(file.tensors));
    source_run = old.run();
    step = old.step();
  }

  v1::CreateModelRequest create;
  *create.mutable_model() = definition;
  STRATA_ASSIGN_OR_RETURN(*response.mutable_model(), registry->Create(create));
  if (weights) {
    auto published = registry->Publish(request.name(), source_run, step, request.description(), *std::move(weights));
    if (!published.ok()) {
      // Weights that the engine refuses leave no model behind.
      registry->Delete(request.name()).IgnoreError();
      return published.status();
    }
    *response.mutable_version() = *std::move(published);
    STRATA_ASSIGN_OR_RETURN(*response.mutable_model(), registry->Get(request.name()));
  }
  for (const AxisOrder& order : conversion.inputs) *response.add_inputs() = ToMessage(order);
  for (const AxisOrder& order : conversion.outputs) *response.add_outputs() = ToMessage(order);
  for (std::string& warning : conversion.warnings) response.add_warnings(std::move(warning));
  return response;
}

}  // namespace strata::service
