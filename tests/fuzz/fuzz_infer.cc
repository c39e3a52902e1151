// Any bytes as an inference request for a model with one input of every element type: refused, or views of the right
// size.

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "service/rpc/oip.h"

namespace {

using strata::DType;

class AllTypes final : public strata::Version {
 public:
  absl::StatusOr<strata::NamedTensors> Predict(const strata::NamedViews&) const override {
    return absl::UnimplementedError("not called");
  }
  strata::NamedViews weights() const override { return {}; }
  const std::vector<strata::PortSpec>& inputs() const override { return inputs_; }
  const std::vector<strata::PortSpec>& outputs() const override { return outputs_; }
  bool rows_independent() const override { return true; }
  int64_t memory_bytes() const override { return 0; }

 private:
  const std::vector<strata::PortSpec> inputs_{{"a", DType::kF32, {-1, 2}},
                                              {"b", DType::kI8, {-1}},
                                              {"c", DType::kI64, {-1, -1}},
                                              {"d", DType::kBool, {-1, 1}},
                                              {"e", DType::kText, {-1, -1}}};
  const std::vector<strata::PortSpec> outputs_{{"y", DType::kF32, {-1}}};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const AllTypes& version = *new AllTypes();
  inference::ModelInferRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto inputs = strata::service::ParseInfer(request, version);
  if (!inputs.ok()) return 0;
  STRATA_CHECK(inputs->views.size() == version.inputs().size());
  for (const auto& [name, view] : inputs->views) STRATA_CHECK(view.shape[0] == inputs->rows);
  const strata::TensorView& texts = inputs->views.at("e");
  std::string all;  // reads every text to its end
  for (int64_t i = 0; i < texts.num_elements(); ++i) all += texts.as<std::string_view>()[i];
  STRATA_CHECK(all.size() <= size);
  return 0;
}
