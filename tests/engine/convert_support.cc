#include "tests/engine/convert_support.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/convert/weights.h"
#include "engine/inspect.h"
#include "engine/session.h"
#include "google/protobuf/text_format.h"

namespace strata {
namespace {

constexpr int kSeed = 7;
constexpr int64_t kBatch = 3;

// Ids must be rows of every table that they may meet.
int64_t RowsOf(const v1::Model& model) {
  int64_t rows = 1 << 20;
  for (const v1::Layer& layer : model.layers()) {
    if (layer.has_model()) rows = std::min(rows, RowsOf(layer.model()));
    if (layer.has_embedding()) rows = std::min(rows, layer.embedding().input_dim());
  }
  return rows;
}

NamedTensors RandomWeights(const v1::Model& model, std::mt19937* random) {
  auto ports = PortsOf(model);
  EXPECT_TRUE(ports.ok()) << ports.status();
  NamedTensors weights;
  if (!ports.ok()) return weights;
  for (const nn::ParamSpec& p : ports->params) {
    Tensor t(p.dtype, p.shape);
    const bool variance = absl::StrContains(p.name, "var");
    std::uniform_real_distribution<double> draw(variance ? 0.5 : -0.6, variance ? 1.5 : 0.6);
    for (int64_t i = 0; i < t.num_elements(); ++i) t.Set(i, p.dtype == DType::kF32 ? draw(*random) : 0);
    weights[p.name] = std::move(t);
  }
  return weights;
}

NamedTensors RandomInputs(const v1::Model& model, std::mt19937* random) {
  auto ports = PortsOf(model);
  NamedTensors inputs;
  if (!ports.ok()) return inputs;
  const int64_t rows = RowsOf(model);
  for (const PortSpec& port : ports->inputs) {
    Shape shape = port.shape;
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] == -1) shape[d] = d == 0 ? kBatch : ports->free;
    }
    Tensor t(port.dtype, shape);
    std::normal_distribution<double> draw(0.3, 1.5);
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      const bool ids = rows < (1 << 20) || port.dtype != DType::kF32;
      t.Set(i, ids ? static_cast<double>((*random)() % std::min<int64_t>(rows, 1000)) : draw(*random));
    }
    inputs[port.name] = std::move(t);
  }
  return inputs;
}

absl::StatusOr<NamedTensors> Predict(const v1::Model& model, const NamedTensors& weights, const NamedTensors& inputs,
                                     bool reference) {
  STRATA_ASSIGN_OR_RETURN(const auto version, Version::Create(model, weights, {.threads = 1, .reference = reference}));
  NamedViews views;
  for (const auto& [name, tensor] : inputs) views[name] = tensor.view();
  return version->Predict(views);
}

absl::Status Compare(const std::string& name, const Tensor& want, const Tensor& got) {
  if (want.shape() != got.shape()) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, ": shape ", ShapeString(got.shape()), " for ", ShapeString(want.shape())));
  }
  double largest = 0;
  for (int64_t i = 0; i < want.num_elements(); ++i) largest = std::max(largest, std::fabs(want.At(i)));
  bool alive = false;
  for (int64_t i = 0; i < want.num_elements(); ++i) {
    const double a = want.At(i), b = got.At(i);
    alive |= a != 0;
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    if (!(std::fabs(a - b) <= 1e-5 * std::max(std::fabs(a), largest))) {
      return absl::FailedPreconditionError(absl::StrCat(name, "[", i, "]: ", b, " for ", a));
    }
  }
  if (!alive && want.num_elements() >= 32) return absl::FailedPreconditionError(absl::StrCat(name, ": all zero"));
  return absl::OkStatus();
}

}  // namespace

v1::Dialect Other(v1::Dialect dialect) { return dialect == v1::PYTORCH ? v1::KERAS : v1::PYTORCH; }

v1::Model ModelOf(const std::string& text) {
  v1::Model model;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &model)) << text;
  return model;
}

Tensor Moved(const Tensor& t, const std::vector<int64_t>& axes) {
  return convert::Transposed(t, {axes.begin(), axes.end()});
}

absl::Status Agrees(const v1::Model& given, Conversion* out) {
  STRATA_ASSIGN_OR_RETURN(const v1::Model model, Complete(given));
  STRATA_ASSIGN_OR_RETURN(Conversion c, ConvertModel(given, Other(given.dialect())));
  std::mt19937 random(kSeed);
  const NamedTensors weights = RandomWeights(model, &random), inputs = RandomInputs(model, &random);
  STRATA_ASSIGN_OR_RETURN(const NamedTensors new_weights, c.Weights(weights));
  STRATA_ASSIGN_OR_RETURN(const v1::Model made, Complete(c.model));
  NamedTensors new_inputs;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    Tensor t = Moved(inputs.at(c.inputs[i].name), c.inputs[i].axes);
    const bool ids = made.inputs(static_cast<int>(i)).dtype() == v1::INT64 && t.dtype() == DType::kF32;
    new_inputs[c.inputs[i].name] = ids ? Cast(t.view(), DType::kI64) : std::move(t);
  }
  for (bool reference : {true, false}) {
    STRATA_ASSIGN_OR_RETURN(const NamedTensors want, Predict(given, weights, inputs, reference));
    STRATA_ASSIGN_OR_RETURN(const NamedTensors got, Predict(c.model, new_weights, new_inputs, reference));
    if (want.size() != got.size()) return absl::FailedPreconditionError("outputs: another number of them");
    for (int i = 0; i < made.outputs_size(); ++i) {
      const std::string& name = made.outputs(i).name();
      STRATA_RETURN_IF_ERROR(Compare(absl::StrCat(name, reference ? " in double" : ""),
                                     Moved(want.at(model.outputs(i).name()), c.outputs[i].axes), got.at(name)));
    }
  }
  if (out != nullptr) *out = std::move(c);
  return absl::OkStatus();
}

}  // namespace strata
