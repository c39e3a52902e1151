// A layer as the catalog holds it: how it is built, what it takes, how it treats masks, and samples that every catalog
// test runs.
//
//   Components Linear() {
//     return Layer<v1::Linear>("linear", &BuildLinear).Shapes("x[..., I] -> y[..., units]").With("units: 3", {{2, 4}});
//   }
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/nn/scope.h"
#include "engine/nn/types.h"
#include "strata/v1/model.pb.h"

namespace strata::nn {

// What happens to a Keras mask.
enum class MaskRule : uint8_t {
  kStop,     // the output has none
  kPass,     // the output has the first input's
  kConsume,  // the component reads it and decides itself
};

struct Sample {
  std::string attrs;  // text format of the component's message
  std::vector<Shape> inputs;
  v1::Dialect dialect = v1::DIALECT_UNSPECIFIED;  // unspecified: both
  std::string no_gradient;                        // a reason, where the output has none
  int64_t ids_below = 0;                          // inputs are integers in [0, ids_below)
};

struct Rejection {
  std::string attrs;
  std::vector<Shape> inputs;
  std::string argument;
};

class Component {
 public:
  using Build = std::function<Outputs(Scope&, const v1::Layer&, const Args&)>;

  Component(std::string name, Build build) : name_(std::move(name)), build_(std::move(build)) {}

  // Letters stand for sizes, fields of the message for their values, "..." for any axes.
  Component&& Shapes(std::string text) && {
    shapes_ = std::move(text);
    return std::move(*this);
  }
  Component&& Mask(MaskRule rule) && {
    mask_ = rule;
    return std::move(*this);
  }
  // What it does with inputs that are no floating-point numbers, in both dialects or in each; without this it keeps all
  // of them and its operations say what they take.
  Component&& Takes(TypeRule both) && { return std::move(*this).Takes(both, both); }
  Component&& Takes(TypeRule pytorch, TypeRule keras) && {
    pytorch_types_ = pytorch;
    keras_types_ = keras;
    return std::move(*this);
  }
  // The same, where evaluation passes everything through.
  Component&& TakesInTraining(TypeRule both) && {
    types_in_training_ = true;
    return std::move(*this).Takes(both);
  }
  // Inputs of any type, which even Keras does not make float32.
  Component&& TakesAsGiven() && {
    takes_as_given_ = true;
    return std::move(*this);
  }
  // PyTorch's names of the inputs, where they are not all "input".
  Component&& Arguments(std::vector<std::string> names) && {
    arguments_ = std::move(names);
    return std::move(*this);
  }
  // It is a cell: what gives the shapes of its states for a batch.
  using StatesOf = std::function<std::vector<Shape>(const v1::Layer& cell, int64_t batch)>;
  Component&& States(StatesOf states) && {
    states_ = std::move(states);
    return std::move(*this);
  }
  // At least `min` inputs, at most `max` (-1: any number).
  Component&& Inputs(int min, int max) && {
    min_inputs_ = min;
    max_inputs_ = max;
    return std::move(*this);
  }
  // What a call in `dialect` may pass by name. Keras' "mask" takes the place of the mask that the input carries.
  Component&& Named(v1::Dialect dialect, std::vector<std::string> names) && {
    named_dialect_ = dialect;
    named_ = std::move(names);
    return std::move(*this);
  }
  Component&& With(Sample sample) && {
    samples_.push_back(std::move(sample));
    return std::move(*this);
  }
  Component&& With(const std::string& attrs, std::vector<Shape> inputs) && {
    samples_.push_back({attrs, std::move(inputs)});
    return std::move(*this);
  }
  Component&& Reject(std::string attrs, std::vector<Shape> inputs, std::string argument) && {
    rejections_.push_back({std::move(attrs), std::move(inputs), std::move(argument)});
    return std::move(*this);
  }

  // Name of the member of Layer.kind.
  const std::string& name() const { return name_; }
  const Build& build() const { return build_; }
  const std::string& shapes() const { return shapes_; }
  MaskRule mask() const { return mask_; }
  TypeRule takes(v1::Dialect dialect, bool training) const {
    if (types_in_training_ && !training) return kAnyType;
    return dialect == v1::PYTORCH ? pytorch_types_ : keras_types_;
  }
  bool takes_as_given() const { return takes_as_given_; }
  const std::vector<std::string>& arguments() const { return arguments_; }
  // Empty if it is no cell.
  const StatesOf& states() const { return states_; }
  int min_inputs() const { return min_inputs_; }
  int max_inputs() const { return max_inputs_; }
  // Names of arguments that a call may give besides those by position.
  std::vector<std::string> named(v1::Dialect dialect) const {
    return dialect == named_dialect_ ? named_ : std::vector<std::string>();
  }
  const std::vector<Sample>& samples() const { return samples_; }
  const std::vector<Rejection>& rejections() const { return rejections_; }

 private:
  std::string name_;
  Build build_;
  std::string shapes_;
  MaskRule mask_ = MaskRule::kStop;
  TypeRule pytorch_types_, keras_types_;
  bool types_in_training_ = false, takes_as_given_ = false;
  std::vector<std::string> arguments_;
  StatesOf states_;
  int min_inputs_ = 1, max_inputs_ = 1;
  v1::Dialect named_dialect_ = v1::DIALECT_UNSPECIFIED;
  std::vector<std::string> named_;
  std::vector<Sample> samples_;
  std::vector<Rejection> rejections_;
};

// What a file of layers/ gives the catalog: a component, the same one for several ranks, or members of a family.
struct Components : std::vector<Component> {
  using vector::vector;
  Components(Component one) { push_back(std::move(one)); }  // NOLINT: one component is the common case
};

// The attributes of a layer whose kind is `name`.
const google::protobuf::Message& AttributesOf(const v1::Layer& layer, const std::string& name);

// A component whose attributes are message M at member `name` of Layer.kind.
template <typename M>
Component Layer(const std::string& name, Outputs (*build)(Scope&, const M&, const Args&)) {
  return Component(name, [name, build](Scope& s, const v1::Layer& layer, const Args& args) {
    return build(s, static_cast<const M&>(AttributesOf(layer, name)), args);
  });
}

// Every layer of the catalog, in the order of the list in catalog.cc.
const std::vector<Component>& Layers();
// Null if there is none.
const Component* FindLayer(const std::string& name);

// Shapes of a cell's states for a batch; empty if the layer is no cell.
std::vector<Shape> StateShapes(const v1::Layer& cell, int64_t batch);

}  // namespace strata::nn
