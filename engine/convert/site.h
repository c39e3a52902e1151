// One call of a layer of the old model, as a rule sees it: its attributes, its arguments, and the new model that it
// adds to.
//
//   void DenseToLinear(Site& s) {
//     const Made y = s.Main(s.Draft("linear"), {s.Plain(0)});
//     s.Move(y, "weight", {"kernel"}, Transpose({1, 0}));
//     s.Put(y.edge, Layout::Plain(s.shape(0).size()));
//   }
//
// After Refuse() the other functions do nothing that matters: a rule may go on or return.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/convert/builder.h"
#include "engine/convert/fields.h"
#include "engine/convert/operand.h"
#include "engine/convert/weights.h"
#include "engine/nn/component.h"

namespace strata::convert {

// What all models of a conversion share.
struct Ledger {
  v1::Dialect from, to;
  std::vector<std::string> failures, warnings;
  std::set<std::string> said;  // both, each once
  std::vector<WeightMove> moves;
  std::set<std::string> targets;
};

// Where a model of the old tree stands.
struct Place {
  std::string path;        // of its definition: "layers[2].model"
  std::string old_prefix;  // of its parameters: "block/"
  std::string new_prefix;
};

// A layer that was added, and the first output of its call.
struct Made {
  v1::Edge edge;
  std::string layer;
};

class Site {
 public:
  struct Context {
    Ledger* ledger;
    Builder* builder;
    const Place* place;
    const v1::Model* old_model;
    const v1::Layer* layer;
    int layer_index;
    const v1::Call* call;
    std::vector<Operand*> args;
    std::map<std::string, Operand*> named;
    Tried tried;  // the old call's results
  };
  explicit Site(Context context) : c_(std::move(context)) {}

  // ---- the old call
  bool to_pytorch() const { return c_.ledger->to == v1::PYTORCH; }
  v1::Dialect from() const { return c_.ledger->from; }
  v1::Dialect to() const { return c_.ledger->to; }
  const v1::Layer& layer() const { return *c_.layer; }
  const v1::Call& call() const { return *c_.call; }
  std::string kind() const;
  template <typename M>
  const M& As() const {
    return static_cast<const M&>(AttrsOf(*c_.layer));
  }
  int num_args() const { return static_cast<int>(c_.args.size()); }
  Operand& arg(int i) { return *c_.args[i]; }
  const Shape& shape(int i) const { return c_.args[i]->shape; }
  int rank(int i) const { return static_cast<int>(shape(i).size()); }
  const std::map<std::string, Operand*>& named() const { return c_.named; }
  const std::vector<Port>& results() const { return c_.tried.outputs; }
  // Parameters of the old layer; names are relative to it.
  const std::vector<nn::ParamSpec>& params() const { return c_.tried.params; }
  // Its weights must fit every call alike.
  bool shared() const;
  // Whether something takes this output of the call.
  bool Used(int output) const;

  // ---- arguments in the new model
  // Argument i with its axes in this order (as Layout::axes) and its features in order; permutes where needed.
  v1::Edge In(int i, const std::vector<int>& axes);
  v1::Edge Plain(int i);
  v1::Edge Bring(Operand* operand, const std::vector<int>& axes);
  // The order of axes that a layer with a channel axis and spatial axes has on the other side, given the old layer's
  // data format.
  std::vector<int> SpatialAxes(int rank) const;
  bool channels_first() const;  // of the old layer

  // ---- the new model
  // The old layer's message as component `kind` of the other dialect. Refuses what that one lacks, but for `handled`.
  v1::Layer Draft(const std::string& kind, const std::vector<std::string>& handled = {});
  // The counterpart proper: it keeps the layer's and the call's names.
  Made Main(v1::Layer layer, const std::vector<v1::Edge>& args, const std::map<std::string, v1::Edge>& named = {});
  // A further layer with weights: its name follows from the layer's, so that calls share it.
  Made Part(const std::string& suffix, v1::Layer layer, const std::vector<v1::Edge>& args);
  // A further layer without weights: its name follows from the call's.
  v1::Edge Helper(const std::string& suffix, v1::Layer layer, const std::vector<v1::Edge>& args);
  // The model inside, under the layer's name.
  Made Nested(v1::Model model, const std::vector<v1::Edge>& args, const std::vector<Port>& results);
  const Port& PortOf(const v1::Edge& edge) const { return c_.builder->PortOf(edge); }

  // Parameter `target` of the new layer from parameters of the old one (relative names).
  void Move(const Made& made, std::string_view target, const std::vector<std::string>& sources, Recipe recipe);
  // The next output of the call.
  void Put(const v1::Edge& edge, Layout layout, bool non_negative = false);
  void Put(Operand operand) { outputs_.push_back(std::move(operand)); }

  // ---- what has no counterpart, and what was left out
  void Refuse(std::string_view field, std::string_view why);
  void Warn(std::string_view field, std::string_view why);
  bool failed() const { return failed_; }

  // The same call as one of `layer`, under this layer's name; and its results as this call's.
  Site CalledAs(const v1::Layer& layer) const;
  void Take(Site* other);
  // Outputs in order; unknown ones after a failure.
  std::vector<Operand> Finish();
  Ledger* ledger() { return c_.ledger; }
  const Place& place() const { return *c_.place; }
  Builder* builder() { return c_.builder; }
  std::string path() const;
  std::string old_prefix() const;  // of the layer's parameters
  std::string new_prefix(const std::string& new_layer) const;
  // The name of a nested model's counterpart.
  std::string CounterpartName() { return NameOf(*c_.layer); }

 private:
  // The name of the old layer's counterpart, and of its call.
  std::string NameOf(const v1::Layer& layer);
  std::string CallName(const std::string& layer);
  Made AddLayer(const std::string& name, const std::string& call, v1::Layer layer, const std::vector<v1::Edge>& args,
                const std::map<std::string, v1::Edge>& named, const std::vector<Port>* results);

  Context c_;
  std::vector<Operand> outputs_;
  bool failed_ = false;
};

const char* DialectWord(v1::Dialect dialect);
// PyTorch's automatic names of layers are positions: they say nothing in the other dialect.
bool IsPosition(const std::string& name);
// A name without the characters that join the names of parameters.
std::string Legal(const std::string& name);
// What Builder::NameFor knows the counterparts of old layers and calls by.
std::string LayerKey(const std::string& name);
std::string CallKey(const std::string& name);
v1::Edge OutputOf(v1::Edge edge, int output);

}  // namespace strata::convert
