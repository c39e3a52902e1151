// The bare rules of each optimizer, without decay and maximisation; put together in optimizer.cc.
#pragma once

#include "engine/nn/optimizers/optimizer.h"

namespace strata::nn {

// Scalars that every rule gets before its own: the learning rate, and what is left of a weight after decoupled decay.
enum : size_t { kRate, kKeep, kFirst };

OptimizerRule MakeAdadelta(const v1::Adadelta& a);
OptimizerRule MakeAdamax(v1::Dialect dialect, const v1::Adamax& a);
OptimizerRule MakeNadam(v1::Dialect dialect, const v1::Nadam& a);
OptimizerRule MakeLion(const v1::Lion& a);

}  // namespace strata::nn
