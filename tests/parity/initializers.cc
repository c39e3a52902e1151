// Kinds `initializer` and `calculate_gain`: bounds, moments and exact properties of what is drawn.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/philox.h"
#include "engine/base/status.h"
#include "engine/import/framework.h"
#include "engine/nn/build.h"
#include "engine/nn/initializers/initializers.h"
#include "tests/parity/custom.h"
#include "tests/parity/facts.h"
#include "tests/parity/forward.h"

namespace strata::parity {
namespace {

constexpr uint64_t kSeed = 20260101;

// The named parameter of a fresh layer, whose input is guessed from the parameter's own shape.
absl::StatusOr<Tensor> FreshParameter(const Case& c, const std::string& name, const Shape& shape) {
  STRATA_ASSIGN_OR_RETURN(const v1::Layer layer, ImportLayer(c.dialect, c.ComponentText(), CustomObjects(c.dialect)));
  Graph g;
  nn::Collected collected;
  nn::Scope scope(&g, c.dialect, false, {}, &collected);
  nn::Args args;
  const bool ids = layer.has_embedding();
  for (const Shape& shape : InputShapesFor(layer)) {
    args.positional.push_back(g.AddInput("input", ids ? DType::kI64 : DType::kF32, shape));
  }
  nn::BuildLayer(scope, layer, args);
  if (!g.ok()) return g.status();
  for (const nn::ParamSpec& p : collected.params) {
    if (p.name != name) continue;
    if (p.shape != shape)
      return InvalidArgument(name, ": shape is ", ShapeString(p.shape), ", wanted ", ShapeString(shape));
    STRATA_ASSIGN_OR_RETURN(Tensor t, nn::Initialize(c.dialect, p.initializer, p.shape, kSeed, StreamHash(p.name)));
    if (p.adjust) p.adjust(&t);
    return t;
  }
  return InvalidArgument(name, ": the engine has no such parameter");
}

// Rows (or columns) of the matrix are orthogonal with norm `gain`. The matrix is [first axis, rest] in PyTorch and
// [rest, last axis] in Keras.
void CheckOrthonormal(const Case& c, const Tensor& t, bool rows, double gain, Result* result) {
  const int64_t n = t.num_elements();
  const int64_t r = c.dialect == v1::PYTORCH ? t.dim(0) : n / t.dim(-1), k = n / r;
  const int64_t outer = rows ? r : k, inner = rows ? k : r;
  const auto at = [&](int64_t o, int64_t i) { return rows ? t.At(o * k + i) : t.At(i * k + o); };
  for (int64_t a = 0; a < outer; ++a) {
    for (int64_t b = a; b < outer; ++b) {
      double dot = 0;
      for (int64_t i = 0; i < inner; ++i) dot += at(a, i) * at(b, i);
      const double want = a == b ? gain * gain : 0;
      if (std::abs(dot - want) > 1e-4 * std::max(1.0, gain * gain)) {
        return result->Fail(absl::StrCat("orthonormal: ", a, " and ", b, " have product ", dot, ", wanted ", want));
      }
    }
  }
  ++result->compared;
}

void CheckMoments(const Tensor& t, const Json& expect, Result* result) {
  const int64_t n = t.num_elements();
  double sum = 0, squares = 0, low = t.At(0), high = t.At(0);
  for (int64_t i = 0; i < n; ++i) {
    const double v = t.At(i);
    sum += v;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  const double mean = sum / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) squares += (t.At(i) - mean) * (t.At(i) - mean);
  const double deviation = std::sqrt(squares / static_cast<double>(n));
  const auto near = [&](const char* what, double got, double want, double tolerance) {
    result->Check(std::abs(got - want) <= tolerance,
                  absl::StrCat(what, ": is ", got, ", wanted ", want, " +- ", tolerance));
  };
  if (expect.contains("mean")) near("mean", mean, expect["mean"], expect["mean_tolerance"]);
  if (expect.contains("std")) near("std", deviation, expect["std"], expect["std_tolerance"]);
  // Bounds are given in double, values are float32.
  if (expect.contains("min")) {
    const double bound = expect["min"];
    result->Check(low >= bound - 1e-6 * std::abs(bound), absl::StrCat("min: is ", low, ", bound ", bound));
  }
  if (expect.contains("max")) {
    const double bound = expect["max"];
    result->Check(high <= bound + 1e-6 * std::abs(bound), absl::StrCat("max: is ", high, ", bound ", bound));
  }
  if (expect.contains("reach")) {
    const double reach = expect["reach"];
    result->Check(std::max(std::abs(low), std::abs(high)) >= reach,
                  absl::StrCat("reach: is ", high, ", wanted ", reach));
  }
}

// Compares nested lists with a tensor's elements, in order.
void CompareNested(const Json& want, const Tensor& t, int64_t* next, Result* result) {
  if (want.is_array()) {
    for (const Json& part : want) CompareNested(part, t, next, result);
    return;
  }
  const int64_t i = (*next)++;
  if (i >= t.num_elements()) return;
  if (std::abs(t.At(i) - want.get<double>()) > 1e-6) {
    result->Fail(absl::StrCat("values: element ", i, " is ", t.At(i), ", wanted ", want.get<double>()));
  }
}

void CheckExpectation(const Case& c, const Tensor& t, const Json& expect, Result* result) {
  for (const auto& [key, value] : expect.items()) {
    static const char* const known[] = {"mean",        "mean_tolerance", "std",      "std_tolerance", "min",
                                        "max",         "gain",           "constant", "reach",         "values",
                                        "orthonormal", "distribution",   "identity"};
    if (std::find(std::begin(known), std::end(known), key) == std::end(known)) {
      return result->Fail(absl::StrCat("call.expect.", key, ": unknown member"));
    }
  }
  CheckMoments(t, expect, result);
  if (expect.contains("constant")) {
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      if (std::abs(t.At(i) - expect["constant"].get<double>()) > 1e-6)
        result->Fail(absl::StrCat("constant: is ", t.At(i)));
    }
    ++result->compared;
  }
  if (expect.contains("orthonormal")) {
    CheckOrthonormal(c, t, expect["orthonormal"] == "rows", expect.value("gain", 1.0), result);
  }
  if (expect.contains("values")) {
    const Json want = expect["values"].flatten();
    result->Check(static_cast<int64_t>(want.size()) == t.num_elements(), "values: another number of elements");
    // Flattened keys are sorted as text: read the lists in order instead.
    int64_t next = 0;
    CompareNested(expect["values"], t, &next, result);
  }
  if (expect.value("identity", Json(false)) != false) {
    const int64_t columns = t.dim(-1);
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      const double want = i / columns == i % columns ? 1 : 0;
      if (t.At(i) != want) result->Fail(absl::StrCat("identity: element ", i, " is ", t.At(i)));
    }
    ++result->compared;
  }
}

}  // namespace

Result RunInitializer(const Case& c) {
  if (c.component.is_object() && c.component.value("class_name", Json()) == "calculate_gain")
    return RunCalculateGain(c);
  Result result;
  const Shape shape = c.call["shape"].get<Shape>();
  const Json& expect = c.call["expect"];
  if (c.call.contains("param")) {
    const auto t = FreshParameter(c, c.call["param"], shape);
    result.Take("build", t.status());
    if (t.ok()) CheckExpectation(c, *t, expect, &result);
    return result;
  }
  const auto initializer = ImportInitializer(c.dialect, c.ComponentText());
  result.Take("import", initializer.status());
  if (!initializer.ok()) return result;
  const auto t = nn::Initialize(c.dialect, *initializer, shape, kSeed, StreamHash("kernel"));
  result.Take("initialize", t.status());
  if (t.ok()) CheckExpectation(c, *t, expect, &result);
  result.Check(result.compared > 0, "call.expect: says nothing");
  return result;
}

Result RunCalculateGain(const Case& c) {
  Result result;
  const Json config = c.component.value("config", Json::object());
  const Json slope = config.value("param", Json());
  const auto gain =
      CalculateGain(config.value("nonlinearity", std::string()), slope.is_number() ? slope.get<double>() : 0.01);
  result.Take("import", gain.status());
  if (gain.ok()) result.CompareTo(c, "", {{}, {*gain}}, "output.gain");
  return result;
}

}  // namespace strata::parity
