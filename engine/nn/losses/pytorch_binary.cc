#include "engine/nn/losses/pytorch_binary.h"

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {

bool SameShape(Scope& s, const LossArgs& args) {
  if (!IsFloat(args.target.dtype())) {
    s.Fail(absl::StrCat("target: must be floating point, got ", DTypeName(args.target.dtype())));
    return false;
  }
  if (args.prediction.value.shape() == args.target.shape()) return true;
  s.Fail(absl::StrCat("target|input: shapes must be equal, got ", ShapeString(args.prediction.value.shape()), " and ",
                      ShapeString(args.target.shape())));
  return false;
}

Value LossFactor(Scope& s, const char* name, const v1::Doubles& values,
                 const google::protobuf::RepeatedField<int64_t>& shape, Value like) {
  Shape dims(shape.begin(), shape.end());
  if (dims.empty()) dims = {values.values_size()};
  const absl::StatusOr<Shape> joined = BroadcastShape(dims, like.shape());
  if (NumElements(dims) != values.values_size() || !joined.ok() || *joined != like.shape()) {
    return s.Fail(
        absl::StrCat(name, ": must fit ", ShapeString(like.shape()), ", got ", values.values_size(), " values"));
  }
  return Constant(s.graph(),
                  Tensor::Of(DType::kF32, dims, std::vector<double>(values.values().begin(), values.values().end())));
}

Value BinaryCrossEntropy(Value p, Value t) {
  const auto log = [](Value v) { return Max(Log(v), -100.0); };
  const Value exact = Detach(-(t * log(p) + (1 - t) * log(1 - p)));
  const Value slope = Detach((p - t) / Max((1 - p) * p, 1e-12));
  const Value target_slope = Detach(log(1 - p) - log(p));
  return exact + (slope * (p - Detach(p)) + target_slope * (t - Detach(t)));
}

}  // namespace strata::nn
