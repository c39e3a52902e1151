// A loss as the catalog holds it: how its values are built, and what it declares of its predictions and weights.
//
//   LossComponents KlDivLoss() { return Loss<v1::KlDiv>("kl_div", &Build); }
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/nn/losses/loss.h"
#include "engine/nn/types.h"

namespace strata::nn {

// What a loss returns.
struct LossTerms {
  Value values;   // unreduced
  Value divisor;  // what PyTorch's mean divides the sum by; empty: the number of values
  Value valid;    // Keras: which values count (bool); empty: all
};

class LossComponent {
 public:
  static constexpr int kAny = -1;
  using Build = std::function<LossTerms(Scope&, const v1::Loss&, const LossArgs&)>;
  using ReductionOf = std::function<v1::Reduction(const v1::Loss&)>;
  using OwnsWeights = std::function<bool(const v1::Loss&)>;
  using Declare =
      std::function<void(Scope&, const v1::Loss&, const Annotated& prediction, const std::vector<Annotated>& more)>;

  LossComponent(std::string name, Build build, ReductionOf reduction)
      : name_(std::move(name)), build_(std::move(build)), reduction_(std::move(reduction)) {}

  // PyTorch: predictions that are no floating-point numbers. Refused without this.
  LossComponent&& Takes(TypeRule rule) && {
    types_ = rule;
    return std::move(*this);
  }
  // Predictions besides the first (LossArgs::more); kAny: as many as the definition uses.
  LossComponent&& Compares(int further) && {
    further_ = further;
    return std::move(*this);
  }
  // Names of the further arguments that it needs (LossArgs::named).
  LossComponent&& Arguments(std::vector<std::string> names) && {
    arguments_ = std::move(names);
    return std::move(*this);
  }
  LossComponent&& WithoutTarget() && {
    has_target_ = false;
    return std::move(*this);
  }
  // It has weights of its own where `owns` says so; `declare` declares them without building the loss.
  LossComponent&& Owns(OwnsWeights owns, Declare declare) && {
    owns_ = std::move(owns);
    declare_ = std::move(declare);
    return std::move(*this);
  }

  // Name of the member of Loss.kind.
  const std::string& name() const { return name_; }
  const Build& build() const { return build_; }
  v1::Reduction reduction(const v1::Loss& loss) const { return reduction_(loss); }
  TypeRule takes() const { return types_; }
  int further_predictions() const { return further_; }
  const std::vector<std::string>& arguments() const { return arguments_; }
  bool has_target() const { return has_target_; }
  bool owns(const v1::Loss& loss) const { return owns_ && owns_(loss); }
  const Declare& declare() const { return declare_; }

 private:
  std::string name_;
  Build build_;
  ReductionOf reduction_;
  TypeRule types_ = kFloats;
  int further_ = 0;
  std::vector<std::string> arguments_;
  bool has_target_ = true;
  OwnsWeights owns_;
  Declare declare_;
};

// What a file gives the catalog: a loss, or the members of a family.
struct LossComponents : std::vector<LossComponent> {
  using vector::vector;
  LossComponents(LossComponent one) { push_back(std::move(one)); }  // NOLINT: one loss is the common case
};

// The attributes of a loss, whose kind must be set.
const google::protobuf::Message& AttributesOf(const v1::Loss& loss);

// A loss whose attributes are message M at member `name` of Loss.kind. Without a field for it the reduction is the
// mean.
template <typename M>
LossComponent Loss(const std::string& name, LossTerms (*build)(Scope&, const M&, const LossArgs&)) {
  return LossComponent(
      name,
      [build](Scope& s, const v1::Loss& loss, const LossArgs& args) {
        return build(s, static_cast<const M&>(AttributesOf(loss)), args);
      },
      [](const v1::Loss& loss) {
        if constexpr (requires(const M& a) { a.reduction(); }) {
          return static_cast<const M&>(AttributesOf(loss)).reduction();
        } else {
          return v1::MEAN;
        }
      });
}

// Every loss of the catalog, in the order of the list in losses/catalog.cc.
const std::vector<LossComponent>& Losses();
// Null if the loss's kind is not set.
const LossComponent* FindLoss(const v1::Loss& loss);

// The target in the element type of predictions.
Value LikePrediction(const LossArgs& args);
// Keras: what a cross entropy takes for logits, empty where it takes the prediction for probabilities. After the
// activations sigmoid and softmax these are what they were applied to, whatever the loss and `from_logits` say.
Value LogitsOf(const Annotated& prediction, bool from_logits);
// Target and prediction of one shape, or broadcast. Fails, and is false, otherwise.
bool CheckBroadcast(Scope& s, const LossArgs& args);
// Keras: one value for each row.
LossTerms MeanOverLastAxis(Value values);

}  // namespace strata::nn
