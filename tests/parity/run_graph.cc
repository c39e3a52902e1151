#include "tests/parity/run_graph.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/exec/context.h"
#include "engine/ops/reference.h"
#include "engine/passes/passes.h"
#include "engine/plan/plan.h"

namespace strata::parity {
namespace {

// The tensors of a graph's inputs or variables, in order, in the graph's types.
absl::StatusOr<std::vector<Tensor>> Gather(const Graph& graph, const Feed& inputs, const Feed& variables,
                                           bool want_inputs) {
  std::vector<Tensor> out;
  const size_t n = want_inputs ? graph.inputs().size() : graph.variables().size();
  for (size_t i = 0; i < n; ++i) {
    const std::string& name = want_inputs ? graph.inputs()[i].name : graph.variables()[i].name;
    const DType dtype = want_inputs ? graph.info(graph.inputs()[i].value).dtype : graph.variables()[i].dtype;
    const Shape& shape = want_inputs ? graph.info(graph.inputs()[i].value).shape : graph.variables()[i].shape;
    const Tensor* t = want_inputs ? inputs(name) : variables(name);
    if (t == nullptr) return absl::NotFoundError(absl::StrCat(name, ": the case gives no such tensor"));
    if (t->shape() != shape) {
      return InvalidArgument(name, ": shape must be ", ShapeString(shape), ", got ", ShapeString(t->shape()));
    }
    out.push_back(Cast(t->view(), dtype));
  }
  return out;
}

}  // namespace

absl::StatusOr<GraphValues> RunInDouble(const Graph& graph, const Feed& inputs, const Feed& variables) {
  STRATA_ASSIGN_OR_RETURN(const auto in, Gather(graph, inputs, variables, true));
  STRATA_ASSIGN_OR_RETURN(const auto vars, Gather(graph, inputs, variables, false));
  std::vector<RefTensor> ref_in, ref_vars;
  for (const Tensor& t : in) ref_in.push_back(ToRef(t.view()));
  for (const Tensor& t : vars) ref_vars.push_back(ToRef(t.view()));
  std::vector<RefTensor> out = RunReference(graph, ref_in, &ref_vars);
  GraphValues values;
  for (size_t i = 0; i < out.size(); ++i) values.outputs[graph.outputs()[i].name] = std::move(out[i]);
  for (size_t i = 0; i < vars.size(); ++i) values.variables[graph.variables()[i].name] = std::move(ref_vars[i]);
  return values;
}

absl::StatusOr<GraphValues> RunOptimized(const Graph& graph, const Feed& inputs, const Feed& variables) {
  STRATA_ASSIGN_OR_RETURN(const auto in, Gather(graph, inputs, variables, true));
  STRATA_ASSIGN_OR_RETURN(auto vars, Gather(graph, inputs, variables, false));
  STRATA_ASSIGN_OR_RETURN(Graph optimized, Optimize(Prune(graph)));
  // Passes may drop what nothing reads, so tensors are found by name.
  std::map<std::string, size_t> input_index, variable_index;
  for (size_t i = 0; i < in.size(); ++i) input_index[graph.inputs()[i].name] = i;
  for (size_t i = 0; i < vars.size(); ++i) variable_index[graph.variables()[i].name] = i;
  std::vector<const void*> in_pointers;
  std::vector<void*> var_pointers;
  for (const NamedValue& v : optimized.inputs()) in_pointers.push_back(in[input_index.at(v.name)].raw());
  for (const VariableInfo& v : optimized.variables()) var_pointers.push_back(vars[variable_index.at(v.name)].raw());

  STRATA_ASSIGN_OR_RETURN(const auto plan, MakePlan(std::move(optimized), {}));
  Context context(plan.get(), var_pointers);
  context.Run(in_pointers);
  GraphValues values;
  for (size_t i = 0; i < plan->graph.outputs().size(); ++i) {
    const NamedValue& v = plan->graph.outputs()[i];
    const ValueInfo& info = plan->graph.info(v.value);
    values.outputs[v.name] = ToRef({info.dtype, info.shape, context.output(i)});
  }
  for (size_t i = 0; i < vars.size(); ++i) values.variables[graph.variables()[i].name] = ToRef(vars[i].view());
  return values;
}

const std::vector<Way>& Ways() {
  static const std::vector<Way>& ways = *new std::vector<Way>{{"double", &RunInDouble}, {"engine", &RunOptimized}};
  return ways;
}

}  // namespace strata::parity
