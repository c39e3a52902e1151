// Intersection over union of each class, from counts of class indices.
#include "absl/strings/str_cat.h"
#include "engine/nn/metrics/classes.h"
#include "engine/nn/metrics/mean.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Class indices of targets or predictions.
Value Indices(Scope& s, const char* name, Value v, bool sparse, int64_t axis) {
  if (sparse) return Cast(v, DType::kI64);
  if (axis < -v.rank() || axis >= v.rank()) {
    return s.Fail(absl::StrCat("axis|", name, ": must name one of ", v.rank(), " axes, got ", axis));
  }
  return Cast(ArgMax(v, static_cast<int>(axis)), DType::kI64);
}

MetricTerms Build(Scope& s, const v1::MeanIou& a, const MetricArgs& args) {
  MetricArgs indices = args;
  indices.target = Indices(s, "y_true", args.target, a.sparse_y_true(), a.axis());
  indices.prediction = Indices(s, "y_pred", args.prediction, a.sparse_y_pred(), a.axis());
  if (!s.ok()) return {};
  Value t = indices.target, p = indices.prediction;
  if (t.num_elements() != p.num_elements()) {
    s.Fail(absl::StrCat("y_true|y_pred: must have one size, got ", ShapeString(t.shape()), " and ",
                        ShapeString(p.shape())));
    return {};
  }
  indices.prediction = Reshape(p, t.shape());
  CountOptions options;
  if (a.has_ignore_class()) options.ignore_index = a.ignore_class();
  return {IndexCounts(s, indices, a.num_classes(), options), [](std::span<const double> sums) {
            return AverageOver(ClassCounts::Of(sums), Average::kMacro, true, [](const ClassCounts& c, size_t i) {
              return Divide(c.right[i], c.predicted[i] + c.actual[i] - c.right[i]);
            });
          }};
}

}  // namespace

std::vector<MetricComponent> IouMetrics() { return {Metric<v1::MeanIou>("mean_iou", &Build)}; }

}  // namespace strata::nn
