// The list of optimizers. A new one is one file and one line here.
#include "engine/base/status.h"
#include "engine/nn/optimizers/component.h"
#include "engine/nn/schema.h"

// clang-format off
#define STRATA_OPTIMIZERS(OPTIMIZER) \
  OPTIMIZER(Adadelta) \
  OPTIMIZER(Adagrad) \
  OPTIMIZER(Adam) \
  OPTIMIZER(Adamax) \
  OPTIMIZER(Lion) \
  OPTIMIZER(Nadam) \
  OPTIMIZER(Rmsprop) \
  OPTIMIZER(Sgd)
// clang-format on

namespace strata::nn {

#define DECLARE(Name) OptimizerComponents Name();
STRATA_OPTIMIZERS(DECLARE)
#undef DECLARE

const std::vector<OptimizerComponent>& Optimizers() {
  static const std::vector<OptimizerComponent> list = [] {
    std::vector<OptimizerComponent> all;
#define ADD(Name) \
  for (OptimizerComponent & c : Name()) all.push_back(std::move(c));
    STRATA_OPTIMIZERS(ADD)
#undef ADD
    return all;
  }();
  return list;
}

const OptimizerComponent* FindOptimizer(const v1::Optimizer& optimizer) {
  const auto* kind = KindOf(optimizer);
  if (kind == nullptr) return nullptr;
  for (const OptimizerComponent& c : Optimizers()) {
    if (c.name() == kind->name()) return &c;
  }
  return nullptr;
}

const google::protobuf::Message& AttributesOf(const v1::Optimizer& optimizer) {
  const auto* kind = KindOf(optimizer);
  STRATA_CHECK(kind != nullptr);
  return optimizer.GetReflection()->GetMessage(optimizer, kind);
}

}  // namespace strata::nn
