// What a component sees while it builds its part of a graph: the graph, the dialect, the mode, its parameters and
// state, random numbers, and where penalties go. Names are relative to the layer; the scope adds the path.
//
//   Outputs BuildLinear(Scope& s, const v1::Linear& a, const Args& args) {
//     const Value x = args[0];
//     ...s.Param("kernel", {in, a.units()}, {.initializer = a.kernel_initializer()})...
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/graph/graph.h"
#include "strata/v1/common.pb.h"
#include "strata/v1/schema.pb.h"

namespace strata::nn {

// A value with what the Keras dialect knows of it. Every field but `value` may be empty.
struct Annotated {
  enum class Maker : uint8_t { kNone, kSigmoid, kSoftmax };

  Value value;
  Value mask;                  // bool; false = padding
  Value logits;                // what a final sigmoid or softmax was applied to; any other op drops it
  Maker maker = Maker::kNone;  // of `logits`

  Annotated() = default;
  Annotated(Value v) : value(v) {}  // NOLINT: a plain value is the common case
  operator Value() const { return value; }
};

// Arguments of a call, by position and by name.
struct Args {
  std::vector<Annotated> positional;
  std::map<std::string, Annotated> named;

  size_t size() const { return positional.size(); }
  const Annotated& operator[](size_t i) const { return positional[i]; }
  // Empty if there is none.
  Annotated Named(const std::string& name) const {
    const auto it = named.find(name);
    return it == named.end() ? Annotated{} : it->second;
  }
};
using Outputs = std::vector<Annotated>;

struct ParamOptions {
  v1::Initializer initializer;
  bool trainable = true;
  const v1::Regularizer* regularizer = nullptr;
  const v1::Constraint* constraint = nullptr;
  // Changes the initial value, for what no initializer expresses (a zero row, forget biases of one).
  std::function<void(Tensor*)> adjust;
};

// A parameter or buffer as it was declared.
struct ParamSpec {
  std::string name;    // full path
  std::string stream;  // names its random numbers; mostly the name
  DType dtype = DType::kF32;
  Shape shape;
  v1::Initializer initializer;
  std::function<void(Tensor*)> adjust;
  bool trainable = true;
  bool buffer = false;
  Value value;  // in the graph being built
  v1::Constraint constraint;
};

struct StateUpdate {
  int32_t variable;
  Value next;
};

// What the values of a batch must satisfy, which shapes cannot tell: ids below the table's rows, probabilities.
struct Requirement {
  Value violations;     // f32 scalar: elements that break the rule
  std::string message;  // "place.input: must be in [0, 5)"
};

// Collected over a whole model.
struct Collected {
  std::vector<ParamSpec> params;     // in order of declaration; Add() only
  std::vector<StateUpdate> updates;  // of buffers and random state
  std::vector<Value> penalties;      // scalars, added to the loss
  std::vector<Requirement> requirements;
  bool rows_mixed = false;  // an output row depends on other rows

  // nullptr if no parameter or state has this full name. Valid until the next one is added.
  const ParamSpec* Find(const std::string& name) const {
    const auto it = place_of_name.find(name);
    return it == place_of_name.end() ? nullptr : &params[it->second];
  }
  void Add(ParamSpec spec) {
    place_of_name[spec.name] = params.size();
    params.push_back(std::move(spec));
  }
  absl::flat_hash_map<std::string, size_t> place_of_name;
};

// What the body of a loop uses of the graph around it: parameters and random draws become constants of the loop.
struct BodyCaptures {
  Graph* outer_graph = nullptr;
  Value outer_random_state;
  BodyCaptures* outer_captures = nullptr;
  std::vector<Value> outer, inner;  // the same values outside and inside
};

class Scope {
 public:
  // `graph` and `collected` must outlive the scope. `random_state` is a variable [2] or empty in evaluation.
  Scope(Graph* graph, v1::Dialect dialect, bool training, Value random_state, Collected* collected)
      : graph_(graph), dialect_(dialect), training_(training), random_state_(random_state), collected_(collected) {}

  Graph* graph() const { return graph_; }
  v1::Dialect dialect() const { return dialect_; }
  bool pytorch() const { return dialect_ == v1::PYTORCH; }
  bool training() const { return training_; }
  bool trainable() const { return trainable_; }
  bool ok() const { return graph_->ok(); }

  // Adds INVALID_ARGUMENT "place.what" once; returns an empty value to return from the component.
  Value Fail(const std::string& what);

  // A trained tensor. The same full name again is the same parameter.
  Value Param(std::string_view name, Shape shape, ParamOptions options);
  // A buffer with a constant start.
  Value State(std::string_view name, Shape shape, double start, DType dtype = DType::kF32);
  Value State(std::string_view name, Shape shape, const v1::Initializer& initializer);
  // The buffer's next value, written when the step is applied.
  void SetState(Value state, Value next);
  // Uniform in [0, 1), named by the call's path and `purpose`.
  Value Random(std::string_view purpose, const Shape& shape);
  void AddPenalty(Value scalar) { collected_->penalties.push_back(scalar); }
  // Adds `regularizer` of a layer's output, divided by the batch size.
  void PenalizeActivity(bool has, const v1::Regularizer& regularizer, Value output);
  // Refuses batches for which an element of `holds` (bool) is false: `rule` names the argument ("input: must be ...").
  void Require(Value holds, const std::string& rule);
  void MixRows() { collected_->rows_mixed = true; }
  // Puts the place before an error that lacks it: ops name none.
  void NameError();

  // A scope for a layer inside this one.
  Scope Enter(std::string_view layer, std::string_view call, bool trainable, std::optional<bool> training) const;
  // The same scope over the body of a loop. Parameters and random numbers are made outside, once for all steps, and
  // captured; state and penalties on outputs have no place there. `captures` must outlive the scope.
  Scope InBody(Graph* body, BodyCaptures* captures) const;
  // Puts `prefix` before the parameters' own names: forward_kernel, cells.0.kernel.
  Scope WithPrefix(std::string_view prefix) const;
  // Parameters draw their initial numbers under a name in which the last `mine` is replaced by `other`: equal starts of
  // copies.
  void InitializeLike(std::string_view mine, std::string_view other);
  // Parameters with two axes or more start so, whatever their layer says.
  void OverrideMatrices(v1::Initializer initializer) { matrices_ = std::move(initializer); }
  // The same scope, whose errors name `part` of this one's place in the definition.
  Scope At(std::string_view part) const;
  // Path of the layer, loss or metric in the message that the client sent: layers[0].model.layers[2].linear.
  const std::string& place() const { return place_; }

 private:
  std::string FullName(std::string_view name) const;
  // The scope around a loop's body.
  Scope Outside() const;
  // A value of the graph around a loop, inside it.
  Value Capture(Value outer);

  Graph* graph_;
  v1::Dialect dialect_;
  bool training_;
  bool trainable_ = true;
  Value random_state_;
  Collected* collected_;
  std::string place_;         // names errors
  std::string layer_path_;    // names parameters
  std::string call_path_;     // names random streams
  std::string prefix_;        // of parameters
  std::string mine_, other_;  // see InitializeLike
  std::optional<v1::Initializer> matrices_;
  BodyCaptures* captures_ = nullptr;  // in the body of a loop
};

// l1 * sum |w| + l2 * sum w^2.
Value Penalty(const v1::Regularizer& regularizer, Value w);
// The projection that follows an update.
Value Project(const v1::Constraint& constraint, Value w);

}  // namespace strata::nn
