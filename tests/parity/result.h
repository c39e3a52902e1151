// What became of a case, and the comparison of tensors.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "engine/base/tensor.h"
#include "engine/ops/record.h"
#include "tests/parity/case.h"

namespace strata::parity {

struct Result {
  enum class Verdict { kPassed, kFailed, kUnsupported };
  Verdict verdict = Verdict::kPassed;
  std::string detail;
  int compared = 0;  // tensors and other facts
  // The largest |got - want| / max(|want|, root mean square of want) over all finite floats, and where.
  double worst_error = 0;
  std::string worst_at;

  bool passed() const { return verdict == Verdict::kPassed; }
  // The first failure stands.
  void Fail(const std::string& why) {
    if (!passed()) return;
    verdict = Verdict::kFailed;
    detail = why;
  }
  void Unsupported(const std::string& why) {
    if (!passed()) return;
    verdict = Verdict::kUnsupported;
    detail = why;
  }
  // UNIMPLEMENTED, or a name for which there is no component: unsupported. Any other error: failed.
  void Take(const std::string& doing, const absl::Status& status);

  // Every element must satisfy |got - want| <= atol + rtol |want|; NaN equals NaN, an infinity itself.
  void Compare(const Case& c, const std::string& what, const RefTensor& got, const Tensor& want);
  void CompareTo(const Case& c, const std::string& what, const RefTensor& got, const std::string& tensor);
  void Check(bool condition, const std::string& why) {
    ++compared;
    if (!condition) Fail(why);
  }
};

// Runs one case of any kind.
Result RunCase(const Case& c);

// The kinds, each in a file of its own.
Result RunLayer(const Case& c);
Result RunModel(const Case& c);
Result RunLoss(const Case& c);
Result RunMetric(const Case& c);
Result RunOptimizer(const Case& c);
Result RunClip(const Case& c);
Result RunSchedule(const Case& c);
Result RunRegularizer(const Case& c);
Result RunConstraint(const Case& c);
Result RunInitializer(const Case& c);
Result RunCalculateGain(const Case& c);
Result RunTraining(const Case& c);
Result RunRejects(const Case& c);
Result RunText(const Case& c);
Result RunParameters(const Case& c);
Result RunConfig(const Case& c);

}  // namespace strata::parity
