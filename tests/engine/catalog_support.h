// What the tests of every family of components share: running a graph by plan and by reference, and the properties of
// it that hold for any component. The numbers are those of catalog_test.cc.
#pragma once

#include <vector>

#include "engine/base/tensor.h"
#include "engine/exec/context.h"
#include "engine/graph/graph.h"
#include "engine/ops/record.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "strata/v1/schema.pb.h"

namespace strata::nn {

// Of a graph's inputs and variables, in their order.
struct Numbers {
  std::vector<Tensor> inputs, variables;
};

// `library`, if given, says whether a step ran a oneDNN kernel: those split sums by the number of threads.
std::vector<Tensor> RunPlan(const Graph& graph, const Numbers& numbers, const PlanOptions& options,
                            bool* library = nullptr);
std::vector<RefTensor> RunExact(const Graph& graph, const std::vector<RefTensor>& inputs,
                                std::vector<RefTensor> variables);
std::vector<RefTensor> ToRefs(const std::vector<Tensor>& list);

// Properties 1, 2, 3, 6, 9 and 10.
void ExpectPlanEqualsReference(const Graph& graph, const Numbers& numbers);
// Property 4, where the graph's outputs are a scalar and then its gradients with respect to the first inputs; `inputs`
// of them.
void ExpectGradientsEqualDifferences(const Graph& graph, const Numbers& numbers, size_t inputs);
// Property 7: `message`, complete, is the same after JSON and another completion.
void ExpectSurvivesJson(v1::Dialect dialect, const google::protobuf::Message& message);
// Property 8: each field of the component `kind` alone: a number just outside its range, a word that is none of its
// own, or nothing where it is required. `whole` is a correct use of it, of the message whose member `kind` is. Returns
// how many values were refused.
int ExpectFieldsOutOfRangeRefused(const google::protobuf::FieldDescriptor* kind, const google::protobuf::Message& whole,
                                  v1::Dialect dialect);

}  // namespace strata::nn
