// Models as the frameworks print them. Internal to the engine's facade, but for PrintPytorch, which prints a single
// layer too.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/session.h"
#include "strata/v1/losses.pb.h"

namespace strata {

// One call of the outermost model.
struct SummaryRow {
  const v1::Layer* layer;
  const v1::Call* call;
  std::vector<Shape> args, outputs;  // -1 where the size is free
  int64_t num_parameters = 0;        // of the layer; 0 from its second call on
};

struct SummaryTable {
  v1::Model model;  // complete; rows point into it
  std::vector<SummaryRow> rows;
  std::vector<PortSpec> inputs;
  int64_t total = 0, trainable = 0;
};

// What a call reads, in the frameworks' order: arguments by position, then those by name in the names' order.
std::vector<v1::Edge> SourcesOf(const v1::Call& call);
// A chain: every call reads the one before it, and no layer is called twice.
bool EachReadsTheLast(const v1::Model& model);
// A functional model's places in the order of Keras' table: inputs by index, then layers by index behind the inputs.
std::vector<int> KerasOrder(const v1::Model& model);
absl::StatusOr<SummaryTable> MakeTable(const v1::Model& model);
// The model of a row whose layer is one, by itself: with the shapes that its call gives it.
v1::Model Inner(const SummaryTable& table, const SummaryRow& row);
// The class of a layer in a dialect's framework.
std::string ClassName(const v1::Layer& layer, v1::Dialect dialect);

// model.summary(): 65 columns for a chain of layers, 98 with connections.
absl::StatusOr<std::string> KerasTable(const SummaryTable& table, const SummaryOptions& options);
// torchkeras' summary(model, input_shape).
absl::StatusOr<std::string> TorchkerasTable(const SummaryTable& table);
// A PyTorch model with the sizes that its definition leaves open and its inputs decide (in_features, input_size, ...).
absl::StatusOr<v1::Model> WithInputSizes(const v1::Model& model);
// print(net): classes with their arguments, nested models indented. `layer` is complete (nn/schema.h).
std::string PrintPytorch(const v1::Layer& layer);
// The same for modules that hold modules (attention, transformers); empty for all others.
std::string PrintModules(const v1::Layer& layer);
// What modules without arithmetic (padding, windows, resizing, dropout) show between their parentheses; empty for all
// others.
std::string MovementArguments(const v1::Layer& layer);
std::string PrintPytorch(const v1::Model& model);
std::string PrintPytorch(const v1::Loss& loss);

}  // namespace strata
