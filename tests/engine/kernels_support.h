// Runs graphs through plans and through the double-precision reference, and compares.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "engine/exec/context.h"
#include "engine/ops/ops.h"
#include "engine/ops/reference.h"
#include "tests/engine/tiny_cache.h"

namespace strata {

struct CompareOptions {
  double tolerance = 2e-6;  // |got - want| <= tolerance (scale + |want|)
  double scale = 1;
  bool exact_threads = true;     // one and two threads give equal bits
  bool allow_reference = false;  // a step may run the reference kernel
  int64_t limit = 100;           // integers are drawn from [0, limit)
  bool special = false;          // sprinkle NaN, infinities, zeros over float inputs
  bool bf16 = false;             // inputs are numbers that bfloat16 holds, and plans may compute in it
  double low = -2, high = 2;     // range of float inputs
};

// Random tensors; the seed is printed when a comparison fails.
inline Tensor RandomTensor(DType dtype, const Shape& shape, std::mt19937* rng, const CompareOptions& o = {}) {
  Tensor t(dtype, shape);
  std::uniform_real_distribution<double> real(o.low, o.high);
  std::uniform_int_distribution<int64_t> integer(0, o.limit - 1), die(0, 15);
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    double v = IsFloat(dtype)          ? real(*rng)
               : dtype == DType::kBool ? static_cast<double>(integer(*rng) % 2)
                                       : static_cast<double>(integer(*rng));
    if (o.special && IsFloat(dtype)) {
      const int64_t face = die(*rng);
      if (face == 0) v = NAN;
      if (face == 1) v = INFINITY;
      if (face == 2) v = -INFINITY;
      if (face == 3) v = 0;
    }
    if (o.bf16 && IsFloat(dtype)) {
      float f = static_cast<float>(v);
      uint32_t bits;
      std::memcpy(&bits, &f, sizeof(bits));
      bits &= 0xFFFF0000u;
      std::memcpy(&f, &bits, sizeof(bits));
      v = f;
    }
    t.Set(i, v);
  }
  return t;
}

inline void ExpectClose(const Tensor& got, const RefTensor& want, const CompareOptions& o, const std::string& where) {
  ASSERT_EQ(got.num_elements(), static_cast<int64_t>(want.data.size())) << where;
  for (int64_t i = 0; i < got.num_elements(); ++i) {
    const double g = got.At(i), w = want.data[i];
    if (std::isnan(w) ? std::isnan(g) : g == w) continue;
    if (got.dtype() == DType::kF32 && std::isinf(g) && std::fabs(w) > 3.4e38 && (g > 0) == (w > 0)) continue;
    ASSERT_LE(std::fabs(g - w), o.tolerance * (o.scale + std::fabs(w)))
        << where << ": element " << i << " is " << g << ", want " << w;
  }
}

struct RunResult {
  std::vector<Tensor> outputs, variables;
};

inline Tensor CopyOut(const Graph& g, ValueId v, const void* data) {
  return Tensor::CopyOf({g.info(v).dtype, g.info(v).shape, data});
}

inline RunResult RunPlan(const Graph& graph, const std::vector<Tensor>& inputs, const std::vector<Tensor>& variables,
                         const PlanOptions& options, bool allow_reference, std::string* text) {
  RunResult result;
  absl::StatusOr<std::unique_ptr<const Plan>> plan = MakePlan(Prune(graph), options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  *text = ToText(**plan);
  for (const PlanStep& s : (*plan)->steps) {
    EXPECT_TRUE(allow_reference || s.kernel == nullptr || std::string(s.kernel->name()) != "reference") << *text;
  }
  for (const Tensor& t : variables) result.variables.push_back(t.Clone());
  std::vector<void*> pointers;
  for (Tensor& t : result.variables) pointers.push_back(t.raw());
  std::vector<const void*> in, nothing;
  std::vector<Tensor> nans;
  for (const Tensor& t : inputs) {
    in.push_back(t.raw());
    nans.push_back(t.Clone());
    for (int64_t i = 0; IsFloat(t.dtype()) && i < t.num_elements(); ++i) nans.back().Set(i, NAN);
    nothing.push_back(nans.back().raw());
  }
  Context context(plan->get(), pointers);
  for (const auto& run : {nothing, in}) {  // the second run meets what the first left behind
    for (size_t i = 0; i < variables.size(); ++i)
      std::memcpy(pointers[i], variables[i].raw(), variables[i].size_bytes());
    context.Run(run);
  }
  const Graph& g = (*plan)->graph;
  for (size_t i = 0; i < g.outputs().size(); ++i)
    result.outputs.push_back(CopyOut(g, g.outputs()[i].value, context.output(i)));
  return result;
}

// Compares `graph` under every plan option with the reference of `oracle` (the same graph before passes, by default
// itself).
inline void ExpectMatchesReference(const Graph& graph, const CompareOptions& o = {}, uint32_t seed = 1,
                                   const Graph* oracle = nullptr) {
  ASSERT_TRUE(graph.ok()) << graph.status();
  ASSERT_TRUE(Verify(graph).ok()) << Verify(graph) << ToText(graph);
  const Graph& base = oracle == nullptr ? graph : *oracle;
  std::mt19937 rng(seed);
  std::vector<Tensor> inputs, variables;
  std::vector<RefTensor> ref_inputs, ref_variables;
  for (const NamedValue& v : base.inputs())
    inputs.push_back(RandomTensor(base.info(v.value).dtype, base.info(v.value).shape, &rng, o));
  for (const VariableInfo& v : base.variables()) variables.push_back(RandomTensor(v.dtype, v.shape, &rng, o));
  for (const Tensor& t : inputs) ref_inputs.push_back(ToRef(t.view()));
  for (const Tensor& t : variables) ref_variables.push_back(ToRef(t.view()));
  const std::vector<RefTensor> want = RunReference(base, ref_inputs, &ref_variables);

  for (const int64_t cache_bytes : {PlanOptions().cache_bytes, kTinyCache, 16 * kTinyCache}) {
    PlanOptions options{.bf16 = o.bf16, .cache_bytes = cache_bytes};
    std::vector<RunResult> runs;
    for (const int threads : {1, 2}) {
      for (const bool reuse : {true, false}) {
        std::string text;
        options.threads = threads;
        options.reuse = options.in_place = reuse;
        runs.push_back(RunPlan(graph, inputs, variables, options, o.allow_reference, &text));
        const std::string where = absl::StrCat("seed ", seed, ", threads ", threads, ", reuse ", reuse, ", cache ",
                                               cache_bytes, "\n", ToText(graph), text);
        for (size_t i = 0; i < want.size(); ++i) {
          ASSERT_NO_FATAL_FAILURE(
              ExpectClose(runs.back().outputs[i], want[i], o, absl::StrCat("output ", i, ", ", where)));
        }
        for (size_t i = 0; i < variables.size(); ++i) {
          ASSERT_NO_FATAL_FAILURE(
              ExpectClose(runs.back().variables[i], ref_variables[i], o, absl::StrCat("variable ", i, ", ", where)));
        }
        for (size_t i = 0; o.exact_threads && i < want.size(); ++i) {
          const Tensor &a = runs[0].outputs[i], &b = runs.back().outputs[i];
          ASSERT_EQ(0, std::memcmp(a.raw(), b.raw(), a.size_bytes()))
              << "output " << i << " depends on threads or memory, " << where;
        }
      }
    }
  }
}

}  // namespace strata
