#include "tests/engine/catalog_support.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"
#include "engine/ops/reference.h"
#include "engine/passes/passes.h"
#include "google/protobuf/util/json_util.h"
#include "strata/v1/common.pb.h"
#include "tests/engine/tiny_cache.h"

namespace strata::nn {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

void ExpectEqualBits(const std::vector<Tensor>& a, const std::vector<Tensor>& b, const char* what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    for (int64_t k = 0; k < a[i].num_elements(); ++k) {
      const double x = a[i].At(k), y = b[i].At(k);
      ASSERT_TRUE(x == y || (x != x && y != y)) << what << ": output " << i << "[" << k << "] is " << x << " and " << y;
    }
  }
}

void ExpectNear(const Graph& graph, const std::vector<Tensor>& got, const std::vector<RefTensor>& want,
                const char* what) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const ValueInfo& inferred = graph.info(graph.outputs()[i].value);
    ASSERT_EQ(got[i].shape(), inferred.shape);
    ASSERT_EQ(got[i].dtype(), inferred.dtype);
    double scale = 1;
    for (double v : want[i].data) scale = std::max(scale, std::fabs(v));
    for (int64_t k = 0; k < got[i].num_elements(); ++k) {
      ASSERT_NEAR(got[i].At(k), want[i].data[k], 1e-5 * scale)
          << what << ": " << graph.outputs()[i].name << "[" << k << "]";
    }
  }
}

std::vector<double> EdgesOf(const v1::FieldSchema& schema) {
  std::vector<double> edges;
  if (schema.has_at_least()) edges.push_back(schema.at_least() - 1);
  if (schema.has_above()) edges.push_back(schema.above());
  if (schema.has_at_most()) edges.push_back(schema.at_most() + 1);
  if (schema.has_below()) edges.push_back(schema.below());
  return edges;
}

// False for unions other than lists of numbers, which have tests of their own.
bool SetNumber(const FieldDescriptor* field, double value, Message* m) {
  const auto* r = m->GetReflection();
  const bool real = field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE;
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    if (field->message_type() == v1::Ints::descriptor()) {
      static_cast<v1::Ints*>(r->MutableMessage(m, field))->add_values(static_cast<int64_t>(value));
    } else if (field->message_type() == v1::Doubles::descriptor()) {
      static_cast<v1::Doubles*>(r->MutableMessage(m, field))->add_values(value);
    } else {
      return false;
    }
  } else if (field->is_repeated()) {
    r->ClearField(m, field);
    real ? r->AddDouble(m, field, value) : r->AddInt64(m, field, static_cast<int64_t>(value));
  } else {
    real ? r->SetDouble(m, field, value) : r->SetInt64(m, field, static_cast<int64_t>(value));
  }
  return true;
}

}  // namespace

std::vector<Tensor> RunPlan(const Graph& graph, const Numbers& numbers, const PlanOptions& options, bool* library) {
  auto plan = MakePlan(Prune(graph), options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  for (const PlanStep& step : (*plan)->steps) {
    if (library != nullptr && step.kernel)
      *library |= std::string(step.kernel->name()).find("onednn") != std::string::npos;
  }
  Numbers mine;
  for (const Tensor& t : numbers.variables) mine.variables.push_back(t.Clone());
  std::vector<void*> variables;
  for (const VariableInfo& v : (*plan)->graph.variables())
    variables.push_back(mine.variables[graph.FindVariable(v.name)].raw());
  Context context(plan->get(), variables);
  std::vector<const void*> inputs;
  for (const Tensor& t : numbers.inputs) inputs.push_back(t.raw());
  context.Run(inputs);
  std::vector<Tensor> out;
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const ValueInfo& info = (*plan)->graph.info((*plan)->graph.outputs()[i].value);
    out.push_back(Tensor::CopyOf({info.dtype, info.shape, context.output(i)}));
  }
  return out;
}

std::vector<RefTensor> RunExact(const Graph& graph, const std::vector<RefTensor>& inputs,
                                std::vector<RefTensor> variables) {
  return RunReference(graph, inputs, &variables);
}

std::vector<RefTensor> ToRefs(const std::vector<Tensor>& list) {
  std::vector<RefTensor> out;
  for (const Tensor& t : list) out.push_back(ToRef(t.view()));
  return out;
}

void ExpectPlanEqualsReference(const Graph& graph, const Numbers& n) {
  const std::vector<RefTensor> want = RunExact(graph, ToRefs(n.inputs), ToRefs(n.variables));
  auto optimised = Optimize(Prune(graph));
  ASSERT_TRUE(optimised.ok()) << optimised.status();
  const std::vector<Tensor> got = RunPlan(*optimised, n, {});
  ASSERT_NO_FATAL_FAILURE(ExpectNear(graph, got, want, "one thread"));
  auto again = Optimize(Prune(graph));
  ASSERT_TRUE(again.ok()) << again.status();
  ExpectEqualBits(got, RunPlan(*again, n, {}), "compiled and run twice");
  ExpectEqualBits(got, RunPlan(*optimised, n, {.reuse = false, .in_place = false}), "without reuse");
  const std::vector<Tensor> bands = RunPlan(*optimised, n, {.cache_bytes = kTinyCache});
  ASSERT_NO_FATAL_FAILURE(ExpectNear(graph, bands, want, "bands"));
  ExpectEqualBits(bands, RunPlan(*optimised, n, {.reuse = false, .in_place = false, .cache_bytes = kTinyCache}),
                  "bands without reuse");
  bool library = false;
  const std::vector<Tensor> two = RunPlan(*optimised, n, {.threads = 2}, &library);
  if (library) {
    ExpectNear(graph, two, want, "two threads");
  } else {
    ExpectEqualBits(got, two, "two threads");
  }
}

void ExpectGradientsEqualDifferences(const Graph& graph, const Numbers& n, size_t inputs) {
  std::vector<RefTensor> values = ToRefs(n.inputs);
  const std::vector<RefTensor> variables = ToRefs(n.variables);
  const std::vector<RefTensor> exact = RunExact(graph, values, variables);
  bool any = false;
  for (size_t g = 0; g < inputs; ++g) {
    const std::vector<double>& gradient = exact[1 + g].data;
    ASSERT_EQ(gradient.size(), values[g].data.size());
    for (size_t i = 0; i < gradient.size(); ++i) {
      constexpr double kEpsilon = 1e-6;
      const double old = values[g].data[i];
      values[g].data[i] = old + kEpsilon;
      const double up = RunExact(graph, values, variables)[0].data[0];
      values[g].data[i] = old - kEpsilon;
      const double down = RunExact(graph, values, variables)[0].data[0];
      values[g].data[i] = old;
      const double want = (up - down) / (2 * kEpsilon);
      ASSERT_NEAR(gradient[i], want, 1e-5 * (1 + std::fabs(want))) << "input " << g << "[" << i << "]";
      any |= gradient[i] != 0;
    }
  }
  EXPECT_TRUE(any) << "all gradients are zero";
}

void ExpectSurvivesJson(v1::Dialect dialect, const Message& message) {
  std::string json;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(message, &json).ok());
  std::unique_ptr<Message> back(message.New());
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json, back.get()).ok()) << json;
  ASSERT_TRUE(Fill(dialect, "part", back.get()).ok()) << json;
  EXPECT_EQ(back->DebugString(), message.DebugString()) << json;
}

int ExpectFieldsOutOfRangeRefused(const FieldDescriptor* kind, const Message& whole, v1::Dialect given) {
  int refused = 0;
  const v1::Dialect kind_only = SchemaOfComponent(kind).only();
  for (int f = 0; f < kind->message_type()->field_count(); ++f) {
    const FieldDescriptor* field = kind->message_type()->field(f);
    const v1::FieldSchema& schema = SchemaOfField(field);
    // A message that serves components of both dialects has fields of the other one.
    if (schema.only() != v1::DIALECT_UNSPECIFIED && kind_only != v1::DIALECT_UNSPECIFIED && schema.only() != kind_only)
      continue;
    const v1::Dialect dialect = schema.only() != v1::DIALECT_UNSPECIFIED ? schema.only()
                                : given != v1::DIALECT_UNSPECIFIED       ? given
                                : kind_only != v1::DIALECT_UNSPECIFIED   ? kind_only
                                                                         : v1::PYTORCH;
    // Of a field of the other dialect a use in that one must say.
    std::unique_ptr<Message> good(whole.New());
    good->CopyFrom(whole);
    if (!Fill(dialect, "part", good.get()).ok()) continue;
    const auto expect_refused = [&](const std::string& what, auto change) {
      std::unique_ptr<Message> copy(whole.New());
      copy->CopyFrom(whole);
      if (!change(copy->GetReflection()->MutableMessage(copy.get(), kind))) return;
      const absl::Status status = Fill(dialect, "part", copy.get());
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << kind->name() << "." << field->name() << what;
      EXPECT_NE(status.message().find(field->name()), std::string::npos) << status;
      ++refused;
    };
    for (const double edge : EdgesOf(schema)) {
      expect_refused(absl::StrCat(" = ", edge), [&](Message* m) { return SetNumber(field, edge, m); });
    }
    if (!schema.one_of().empty() && !field->is_repeated()) {
      expect_refused(" = \"no such word\"", [&](Message* m) {
        m->GetReflection()->SetString(m, field, "no such word");
        return true;
      });
    }
    // A dialect may have a default of its own.
    const bool has_default = !(dialect == v1::PYTORCH ? schema.pytorch_default() : schema.keras_default()).empty();
    if (schema.required() && !has_default) {
      expect_refused(" left out", [&](Message* m) {
        m->GetReflection()->ClearField(m, field);
        return true;
      });
    }
  }
  return refused;
}

}  // namespace strata::nn
