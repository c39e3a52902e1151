// The bare rules of each optimizer, without decay and maximisation; put together in optimizer.cc. `cycles`: a schedule
// moves momentum or beta_1.
#pragma once

#include "engine/nn/optimizers/optimizer.h"
#include "engine/ops/ops.h"

namespace strata::nn {

// Scalars that every rule gets before its own: the learning rate, and what is left of a weight after decoupled decay.
enum : size_t { kRate, kKeep, kFirst };

// x times a factor of the definition, or times the scalar that stands in its place where a schedule moves it.
inline Value Times(Value x, double factor, const Value* moving) { return moving != nullptr ? x * *moving : x * factor; }

OptimizerRule MakeAdadelta(const v1::Adadelta& a);
OptimizerRule MakeAdamax(v1::Dialect dialect, const v1::Adamax& a, bool cycles);
OptimizerRule MakeNadam(v1::Dialect dialect, const v1::Nadam& a, const v1::NadamProduct* product);
OptimizerRule MakeLion(const v1::Lion& a);

}  // namespace strata::nn
