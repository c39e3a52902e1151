// An optimizer as the catalog holds it: the bare method, without decay and maximisation, which optimizer.cc adds.
//
//   OptimizerComponents Lion() { return Optimizer<v1::Lion>("lion", &Make); }
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/nn/optimizers/optimizer.h"
#include "engine/ops/ops.h"

namespace strata::nn {

// Scalars that every rule gets before its own: the learning rate, and what is left of a weight after decoupled decay.
enum : size_t { kRate, kKeep, kFirst };

// x times a factor of the definition, or times the scalar that stands in its place where a schedule moves it.
inline Value Times(Value x, double factor, const Value* moving) { return moving != nullptr ? x * *moving : x * factor; }

// The definition in which a method's message stands.
struct OptimizerUse {
  v1::Dialect dialect;
  const v1::Optimizer& definition;

  // A schedule moves momentum or beta_1.
  bool cycles() const {
    return definition.schedule().has_one_cycle() && definition.schedule().one_cycle().cycle_momentum();
  }
};

class OptimizerComponent {
 public:
  using Make = std::function<OptimizerRule(const OptimizerUse&)>;
  using Says = std::function<bool(const v1::Optimizer&)>;

  OptimizerComponent(std::string name, Make make, Says climbs)
      : name_(std::move(name)), make_(std::move(make)), climbs_(std::move(climbs)) {}

  // PyTorch: decay shrinks the weights, where `says` says so, and does not join the gradient. Keras' always does.
  OptimizerComponent&& DecouplesDecay(Says says) && {
    decouples_ = std::move(says);
    return std::move(*this);
  }
  // Where the definition gives none.
  OptimizerComponent&& DefaultDecay(double pytorch, double keras) && {
    pytorch_decay_ = pytorch;
    keras_decay_ = keras;
    return std::move(*this);
  }

  // Name of the member of Optimizer.kind.
  const std::string& name() const { return name_; }
  OptimizerRule make(const OptimizerUse& use) const { return make_(use); }
  bool climbs(const v1::Optimizer& o) const { return climbs_(o); }
  bool decouples_decay(const v1::Optimizer& o) const { return decouples_ && decouples_(o); }
  double default_decay(v1::Dialect dialect) const { return dialect == v1::PYTORCH ? pytorch_decay_ : keras_decay_; }

 private:
  std::string name_;
  Make make_;
  Says climbs_, decouples_;
  double pytorch_decay_ = 0, keras_decay_ = 0;
};

// What a file gives the catalog: an optimizer, or the members of a family.
struct OptimizerComponents : std::vector<OptimizerComponent> {
  using vector::vector;
  OptimizerComponents(OptimizerComponent one) { push_back(std::move(one)); }  // NOLINT: one is the common case
};

// The message of a definition's method, which must be set.
const google::protobuf::Message& AttributesOf(const v1::Optimizer& optimizer);

// An optimizer whose attributes are message M at member `name` of Optimizer.kind.
template <typename M>
OptimizerComponent Optimizer(const std::string& name, OptimizerRule (*make)(const OptimizerUse&, const M&)) {
  return OptimizerComponent(
      name, [make](const OptimizerUse& use) { return make(use, static_cast<const M&>(AttributesOf(use.definition))); },
      [](const v1::Optimizer& o) {
        if constexpr (requires(const M& a) { a.maximize(); }) {
          return static_cast<const M&>(AttributesOf(o)).maximize();
        } else {
          return false;
        }
      });
}

// Every optimizer of the catalog, in the order of the list in optimizers/catalog.cc.
const std::vector<OptimizerComponent>& Optimizers();
// Null if the kind is not set.
const OptimizerComponent* FindOptimizer(const v1::Optimizer& optimizer);

}  // namespace strata::nn
