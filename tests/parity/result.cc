#include "tests/parity/result.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/import/component.h"

namespace strata::parity {
namespace {

bool Close(double got, double want, double rtol, double atol) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want)) return got == want;
  return std::abs(got - want) <= atol + rtol * std::abs(want);
}

bool IsFinite(double v) { return std::isfinite(v); }

// The size of a tensor's finite elements.
double RootMeanSquare(const Tensor& t) {
  double sum = 0, count = 0;
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    const double v = t.At(i);
    if (!IsFinite(v)) continue;
    sum += v * v;
    ++count;
  }
  return count == 0 ? 0 : std::sqrt(sum / count);
}

}  // namespace

void Result::Take(const std::string& doing, const absl::Status& status) {
  if (status.ok()) return;
  const std::string why = absl::StrCat(doing, ": ", status.message());
  if (status.code() == absl::StatusCode::kUnimplemented || framework::IsNoComponent(status)) {
    Unsupported(why);
  } else {
    Fail(why);
  }
}

void Result::Compare(const Case& c, const std::string& what, const RefTensor& got, const Tensor& want) {
  ++compared;
  if (got.shape != want.shape()) {
    Fail(absl::StrCat(what, ": shape is ", ShapeString(got.shape), ", wanted ", ShapeString(want.shape())));
    return;
  }
  const double scale = IsFloat(want.dtype()) ? RootMeanSquare(want) : 0;
  for (size_t i = 0; i < got.data.size() && scale > 0; ++i) {
    const double w = want.At(static_cast<int64_t>(i));
    if (!IsFinite(w) || !IsFinite(got.data[i])) continue;
    const double error = std::abs(got.data[i] - w) / std::max(std::abs(w), scale);
    if (error <= worst_error) continue;
    worst_error = error;
    worst_at = absl::StrFormat("%s[%d]: is %.9g, wanted %.9g", what, i, got.data[i], w);
  }
  for (size_t i = 0; i < got.data.size(); ++i) {
    const double w = want.At(static_cast<int64_t>(i));
    if (Close(got.data[i], w, c.rtol, c.atol)) continue;
    Fail(absl::StrFormat("%s[%d]: is %.9g, wanted %.9g", what, i, got.data[i], w));
    return;
  }
}

void Result::CompareTo(const Case& c, const std::string& what, const RefTensor& got, const std::string& tensor) {
  const Tensor* want = c.Find(tensor);
  if (want == nullptr) {
    Fail(absl::StrCat(tensor, ": the case has no such tensor"));
    return;
  }
  Compare(c, absl::StrCat(what, " ", tensor), got, *want);
}

namespace {

Result RunKind(const Case& c) {
  Result result;
  if (c.kind == "layer") return RunLayer(c);
  if (c.kind == "model") return RunModel(c);
  if (c.kind == "loss") return RunLoss(c);
  if (c.kind == "metric") return RunMetric(c);
  if (c.kind == "optimizer") return RunOptimizer(c);
  if (c.kind == "clip") return RunClip(c);
  if (c.kind == "schedule") return RunSchedule(c);
  if (c.kind == "regularizer") return RunRegularizer(c);
  if (c.kind == "constraint") return RunConstraint(c);
  if (c.kind == "initializer") return RunInitializer(c);
  if (c.kind == "calculate_gain") return RunCalculateGain(c);
  if (c.kind == "training") return RunTraining(c);
  if (c.kind == "rejects") return RunRejects(c);
  if (c.kind == "text") return RunText(c);
  if (c.kind == "parameters") return RunParameters(c);
  if (c.kind == "config") return RunConfig(c);
  result.Unsupported(absl::StrCat("kind: no runner for ", c.kind));
  return result;
}

}  // namespace

Result RunCase(const Case& c) {
  // The JSON library throws where a case's member has another type than its kind needs.
  try {
    return RunKind(c);
  } catch (const Json::exception& e) {
    Result result;
    result.Fail(absl::StrCat("case: ", e.what()));
    return result;
  }
}

}  // namespace strata::parity
