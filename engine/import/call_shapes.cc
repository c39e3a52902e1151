#include "engine/import/call_shapes.h"

#include <algorithm>
#include <iterator>

#include "engine/base/status.h"
#include "engine/features.h"
#include "engine/import/framework.h"
#include "engine/nn/build.h"
#include "engine/session.h"
#include "engine/train/forward.h"

namespace strata::framework {
namespace {

// Builds the model with `batch` for unknown first sizes and `free` for other unknown ones.
absl::StatusOr<std::vector<CallShapes>> Walk(const v1::Model& model, const std::vector<Shape>& given, int64_t batch,
                                             int64_t free) {
  Graph graph;
  nn::Collected collected;
  nn::Scope scope(&graph, model.dialect(), false, {}, &collected);
  std::vector<nn::Annotated> inputs;
  for (int i = 0; i < model.inputs_size(); ++i) {
    const v1::Input& input = model.inputs(i);
    Shape shape = given[i];
    const bool batched = !input.has_batched() || input.batched();
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] < 0) shape[d] = d == 0 && batched ? batch : free;
    }
    inputs.push_back(graph.AddInput(input.name(), ElementType(input.dtype()), std::move(shape)));
  }
  std::vector<CallShapes> calls;
  nn::BuildModel(scope, model, inputs, [&](const v1::Call&, const nn::Args& args, const nn::Outputs& outputs) {
    CallShapes& shapes = calls.emplace_back();
    for (const nn::Annotated& a : args.positional) shapes.args.push_back(a.value.shape());
    for (const nn::Annotated& o : outputs) shapes.outputs.push_back(o.value.shape());
  });
  STRATA_RETURN_IF_ERROR(graph.status());
  return calls;
}

void MarkMoved(const std::vector<Shape>& other, std::vector<Shape>* shapes) {
  for (size_t k = 0; k < shapes->size() && k < other.size(); ++k) {
    Shape& a = (*shapes)[k];
    for (size_t d = 0; d < a.size() && d < other[k].size(); ++d) a[d] = a[d] == other[k][d] ? a[d] : -1;
  }
}

void MarkMoved(const std::vector<CallShapes>& other, std::vector<CallShapes>* calls) {
  for (size_t i = 0; i < calls->size(); ++i) {
    MarkMoved(other[i].args, &(*calls)[i].args);
    MarkMoved(other[i].outputs, &(*calls)[i].outputs);
  }
}

bool IsKnown(int64_t size) { return size >= 0; }

// Layers that join their inputs element by element.
bool IsElementwiseMerge(const v1::Layer& layer) {
  return layer.has_add() || layer.has_subtract() || layer.has_multiply() || layer.has_average() ||
         layer.has_maximum() || layer.has_minimum();
}

}  // namespace

absl::StatusOr<std::vector<CallShapes>> InferCallShapes(const v1::Model& given,
                                                        const std::vector<Shape>& given_inputs) {
  STRATA_CHECK(static_cast<int>(given_inputs.size()) == given.inputs_size());
  // Behind the input stage there are other inputs, and as many calls.
  STRATA_ASSIGN_OR_RETURN(const FeatureStage stage, FeatureStage::Create(given));
  const v1::Model& model = stage.model();
  std::vector<Shape> inputs;
  for (const v1::Input& input : model.inputs()) {
    const auto same = std::find_if(given.inputs().begin(), given.inputs().end(),
                                   [&](const v1::Input& other) { return other.name() == input.name(); });
    inputs.push_back(same == given.inputs().end() ? Shape{-1, -1} : given_inputs[same - given.inputs().begin()]);
  }
  // Unknown sizes need a value that the model's windows fit into, that others broadcast against, or a known size.
  std::vector<int64_t> sizes{32, 7, 224, 1};
  for (const Shape& shape : inputs) std::copy_if(shape.begin(), shape.end(), std::back_inserter(sizes), IsKnown);
  absl::StatusOr<std::vector<CallShapes>> base = absl::InternalError("no size was tried");
  absl::Status first;
  int64_t free = 1;
  for (int64_t size : sizes) {
    base = Walk(model, inputs, 2, size);
    free = size;
    if (base.ok()) break;
    if (first.ok()) first = base.status();
  }
  if (!base.ok()) return first;
  bool alone = true;  // no other size for all
  // Two more sizes: strides may round one of them to the same number of windows.
  for (const auto& [batch, size] : {std::pair<int64_t, int64_t>{3, free}, {2, 2 * free}, {2, 2 * free + 11}}) {
    const auto other = Walk(model, inputs, batch, size);
    if (other.ok()) MarkMoved(*other, &*base);
    alone = alone && (size == free || !other.ok());
  }
  // Some must agree with a known size: the others change one by one.
  for (size_t i = 0; i < inputs.size() && alone; ++i) {
    for (size_t d = 1; d < inputs[i].size(); ++d) {
      if (IsKnown(inputs[i][d])) continue;
      std::vector<Shape> changed = inputs;
      changed[i][d] = 2 * free + 11;
      const auto other = Walk(model, changed, 2, free);
      if (other.ok()) MarkMoved(*other, &*base);
    }
  }
  return base;
}

std::vector<Shape> DeclaredShapes(const v1::Model& model) {
  std::vector<Shape> shapes;
  for (const v1::Input& input : model.inputs()) {
    Shape& shape = shapes.emplace_back();
    if (!input.has_batched() || input.batched()) shape.push_back(input.has_batch_size() ? input.batch_size() : -1);
    for (int64_t d : input.shape()) shape.push_back(d);
  }
  return shapes;
}

}  // namespace strata::framework

namespace strata {

absl::StatusOr<std::vector<Shape>> ComputeOutputShape(v1::Dialect dialect, const v1::Layer& layer,
                                                      const std::vector<Shape>& inputs) {
  v1::Model model;
  model.set_dialect(dialect);
  *model.add_layers() = layer;
  for (const Shape& shape : inputs) {
    v1::Input* input = model.add_inputs();
    if (shape.empty()) input->set_batched(false);
    for (size_t d = 1; d < shape.size(); ++d) input->add_shape(shape[d]);
    if (layer.has_embedding()) input->set_dtype(v1::INT64);
  }
  STRATA_ASSIGN_OR_RETURN(model, Complete(model));
  STRATA_ASSIGN_OR_RETURN(const std::vector<framework::CallShapes> calls, framework::InferCallShapes(model, inputs));
  STRATA_CHECK(calls.size() == 1);
  std::vector<Shape> outputs = calls[0].outputs;
  if (!framework::IsElementwiseMerge(layer)) return outputs;
  // Keras takes a size for unknown if one input's is, whatever the others say.
  for (const Shape& shape : inputs) {
    for (size_t back = 1; back < shape.size() && back < outputs[0].size(); ++back) {
      if (shape[shape.size() - back] < 0) outputs[0][outputs[0].size() - back] = -1;
    }
  }
  return outputs;
}

}  // namespace strata
