// Every whole model of the golden cases in the other dialect: predictions must agree, or the conversion says why there
// is no counterpart.
#include "tests/parity/conversions.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/convert/convert.h"
#include "engine/inspect.h"
#include "engine/session.h"
#include "engine/train/forward.h"
#include "tests/parity/facts.h"

namespace strata::parity {
namespace {

// The case's parameters and states where it has them, fresh ones otherwise.
absl::StatusOr<NamedTensors> WeightsOf(const Case& c, const v1::Model& model) {
  STRATA_ASSIGN_OR_RETURN(NamedTensors weights, InitialWeights(model, 0));
  for (auto& [name, tensor] : weights) {
    for (const char* kind : {"param.", "state."}) {
      const Tensor* given = c.Find(absl::StrCat(kind, name));
      if (given != nullptr && given->shape() == tensor.shape()) tensor = Cast(given->view(), tensor.dtype());
    }
  }
  return weights;
}

// Inputs of a training case are x (x.0 for its first batch), or x_<input> where there are several.
std::vector<std::string> InputNames(const Case& c) {
  if (c.kind != "training") return c.inputs;
  std::vector<std::string> names;
  for (const std::string& name : c.inputs) {
    const bool first = name == "x" || absl::EndsWith(name, ".0") || (name[0] == 'x' && name.find('.') == name.npos);
    if (name[0] == 'x' && first) names.push_back(name);
  }
  return names;
}

absl::StatusOr<NamedTensors> InputsOf(const Case& c, const v1::Model& model) {
  const std::vector<std::string> names = InputNames(c);
  NamedTensors inputs;
  for (int i = 0; i < model.inputs_size(); ++i) {
    const v1::Input& input = model.inputs(i);
    const Tensor* given = nullptr;
    const std::string listed = i < static_cast<int>(names.size()) ? names[i] : "";
    for (const std::string& name : {input.name(), absl::StrCat("x_", input.name(), ".0"),
                                    absl::StrCat("x_", input.name()), listed, absl::StrCat(listed, ".0")}) {
      if (given == nullptr) given = c.Find(absl::StrCat("input.", name));
    }
    if (given == nullptr) return absl::NotFoundError(absl::StrCat("the case has no tensor for input ", input.name()));
    inputs[input.name()] = Cast(given->view(), ElementType(input.dtype()));
  }
  return inputs;
}

absl::StatusOr<NamedTensors> Predict(const v1::Model& model, const NamedTensors& weights, const NamedTensors& inputs) {
  STRATA_ASSIGN_OR_RETURN(const auto version, Version::Create(model, weights, {.threads = 1}));
  NamedViews views;
  for (const auto& [name, tensor] : inputs) views[name] = tensor.view();
  return version->Predict(views);
}

Tensor Moved(const Tensor& t, const std::vector<int64_t>& axes) {
  return convert::Transposed(t, {axes.begin(), axes.end()});
}

void CompareOutput(const std::string& name, const Tensor& want, const Tensor& got, Result* result) {
  result->Check(want.shape() == got.shape(),
                absl::StrCat(name, ": shape ", ShapeString(got.shape()), " for ", ShapeString(want.shape())));
  if (!result->passed()) return;
  double largest = 0;
  for (int64_t i = 0; i < want.num_elements(); ++i) largest = std::max(largest, std::fabs(want.At(i)));
  for (int64_t i = 0; i < want.num_elements(); ++i) {
    const double a = want.At(i), b = got.At(i);
    if (std::fabs(a - b) <= 1e-5 * std::max(std::fabs(a), largest) || a == b || (std::isnan(a) && std::isnan(b)))
      continue;
    return result->Fail(absl::StrCat(name, "[", i, "]: ", b, " for ", a));
  }
}

absl::Status Run(const Case& c, Result* result) {
  const Json& json = c.kind == "training" ? c.component["model"] : c.component;
  STRATA_ASSIGN_OR_RETURN(const v1::Model imported, ModelOf(c, json, InputNames(c)));
  STRATA_ASSIGN_OR_RETURN(const v1::Model model, Complete(imported));
  const v1::Dialect to = c.dialect == v1::KERAS ? v1::PYTORCH : v1::KERAS;
  const absl::StatusOr<Conversion> conversion = ConvertModel(model, to);
  if (!conversion.ok()) {
    if (!absl::IsInvalidArgument(conversion.status())) return conversion.status();
    result->Unsupported(std::string(conversion.status().message()));
    return absl::OkStatus();
  }
  STRATA_ASSIGN_OR_RETURN(const NamedTensors weights, WeightsOf(c, model));
  STRATA_ASSIGN_OR_RETURN(const NamedTensors inputs, InputsOf(c, model));
  STRATA_ASSIGN_OR_RETURN(const NamedTensors new_weights, conversion->Weights(weights));
  STRATA_ASSIGN_OR_RETURN(const v1::Model made, Complete(conversion->model));
  NamedTensors new_inputs;
  for (size_t i = 0; i < conversion->inputs.size(); ++i) {
    const AxisOrder& order = conversion->inputs[i];
    const Tensor t = Moved(inputs.at(order.name), order.axes);
    new_inputs[order.name] = Cast(t.view(), ElementType(made.inputs(static_cast<int>(i)).dtype()));
  }
  STRATA_ASSIGN_OR_RETURN(const NamedTensors want, Predict(model, weights, inputs));
  STRATA_ASSIGN_OR_RETURN(const NamedTensors got, Predict(conversion->model, new_weights, new_inputs));
  for (size_t i = 0; i < conversion->outputs.size(); ++i) {
    const AxisOrder& order = conversion->outputs[i];
    CompareOutput(order.name, Moved(want.at(model.outputs(static_cast<int>(i)).name()), order.axes), got.at(order.name),
                  result);
  }
  return absl::OkStatus();
}

}  // namespace

Result RunConversion(const Case& c) {
  Result result;
  if (const absl::Status status = Run(c, &result); !status.ok()) result.Fail(std::string(status.message()));
  return result;
}

}  // namespace strata::parity
