#include "engine/nn/metrics/mean.h"

#include "absl/strings/str_cat.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {

double Divide(double a, double b) { return b == 0 ? 0 : a / b; }
double Ratio(std::span<const double> sums) { return Divide(sums[0], sums[1]); }

Value AsFloat(Value v) { return Cast(v, DType::kF32); }

Value SpreadWeight(Scope& s, Value weight, const Shape& shape) {
  if (!weight) return Full(s.graph(), 1, shape);
  Value w = AsFloat(weight);
  const int rank = static_cast<int>(shape.size());
  if (w.rank() == rank + 1 && w.dim(-1) == 1) w = strata::Squeeze(w, -1);
  while (w.rank() < rank) w = ExpandDims(w, -1);
  const auto joined = BroadcastShape(w.shape(), shape);
  if (!joined.ok() || *joined != shape) {
    return s.Fail(
        absl::StrCat("sample_weight: must fit values of ", ShapeString(shape), ", got ", ShapeString(weight.shape())));
  }
  return Broadcast(w, shape);
}

MetricTerms MeanOf(Scope& s, Value values, Value weight) {
  if (!values) return {};
  if (!weight) return {{SumAll(values), Scalar(s.graph(), static_cast<double>(values.num_elements()))}, &Ratio};
  const Value w = SpreadWeight(s, weight, values.shape());
  if (!s.ok()) return {};
  return {{SumAll(values * Cast(w, values.dtype())), SumAll(w)}, &Ratio};
}

bool CheckFit(Scope& s, Value t, Value p) {
  if (BroadcastShape(t.shape(), p.shape()).ok()) return true;
  s.Fail(absl::StrCat("target|y_true|y_pred: shapes must fit, got ", ShapeString(t.shape()), " and ",
                      ShapeString(p.shape())));
  return false;
}

void Squeeze(Value* t, Value* p) {
  if (p->rank() == t->rank() + 1 && p->dim(-1) == 1) *p = strata::Squeeze(*p, -1);
  if (t->rank() == p->rank() + 1 && t->dim(-1) == 1) *t = strata::Squeeze(*t, -1);
}

}  // namespace strata::nn
