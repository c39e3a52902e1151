// What recurrent layers, wrappers and cells share: one table of the three kinds, and the moves of their weights.
#pragma once

#include <string>
#include <vector>

#include "engine/convert/rule.h"

namespace strata::convert {

struct Cell {
  const char* layer;  // member of Layer.kind
  const char* cell;
  int states;
  // Gate g of PyTorch is gate order[g] of Keras, and the other way round.
  std::vector<int> order;
  bool two_biases;  // of Keras, too: the second row belongs to the recurrent product
};
// Null if `kind` is neither a recurrent layer nor a cell of these.
const Cell* FindCell(const std::string& kind);

// Weights of one direction of one layer. Keras: prefix + "kernel", "recurrent_kernel", "bias". PyTorch: "weight_ih" +
// suffix and so on.
void MoveCell(Site& s, const Made& made, const Cell& cell, const std::string& keras_prefix,
              const std::string& pytorch_suffix, bool use_bias);

// Refuses what PyTorch's recurrence has not: other activations, dropout of states, reset_after = false. `attrs` is the
// message of a Keras layer or cell; `within` names it in errors.
void CheckRecurrence(Site& s, const google::protobuf::Message& attrs, const std::string& within);

// Fields of a message by name.
bool FlagOf(const google::protobuf::Message& m, const char* name);
int64_t NumberOf(const google::protobuf::Message& m, const char* name);
double RealOf(const google::protobuf::Message& m, const char* name);
void SetFlag(google::protobuf::Message* m, const char* name, bool value);
void SetNumber(google::protobuf::Message* m, const char* name, int64_t value);

// Keras' recurrent layer `attrs` (in one direction, or in both) as PyTorch's, after its input; what both wrappers put
// out.
struct KerasFlags {
  bool return_sequences = false, return_state = false, time_major = false;
  bool bidirectional = false;
  std::string merge_mode = "concat";
};
// `layer` is PyTorch's, `made` its call: puts the outputs that Keras has.
void PutKerasOutputs(Site& s, const Cell& cell, const Made& made, const KerasFlags& flags, int64_t units);
// PyTorch's layer of this kind, without bias, units and input order set from `attrs`.
v1::Layer PytorchRnn(Site& s, const Cell& cell, const google::protobuf::Message& attrs, bool time_major,
                     bool bidirectional);
// The input of a recurrent layer after Keras' dropout of inputs, which all steps share.
v1::Edge DroppedInput(Site& s, double rate, bool time_major);
// Initial states of a Keras call as PyTorch's stacks; empty without any.
std::vector<v1::Edge> StackedStates(Site& s, int states, int directions);

}  // namespace strata::convert
