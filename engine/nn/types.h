// What layers do with inputs of other types than float32: each layer declares it (Component::Takes).
#pragma once

#include <cstdint>

#include "engine/nn/scope.h"

namespace strata::nn {

class Component;

enum class Take : uint8_t {
  kKeep,    // computes with them as they are
  kCast,    // makes them float32 first
  kRefuse,  // fails
};

// What one dialect's layer does with whole numbers and with booleans.
struct TypeRule {
  Take integers = Take::kKeep, booleans = Take::kKeep;
};
inline constexpr TypeRule kAnyType{Take::kKeep, Take::kKeep};
inline constexpr TypeRule kNumbers{Take::kKeep, Take::kRefuse};
inline constexpr TypeRule kFloats{Take::kRefuse, Take::kRefuse};
inline constexpr TypeRule kAnyAsFloats{Take::kCast, Take::kCast};
inline constexpr TypeRule kNumbersAsFloats{Take::kCast, Take::kRefuse};

// The arguments as `layer` computes with them. Keras' layers compute in float32 whatever floating-point type they get.
Args TakeTypes(Scope& s, const Component& layer, Args args);

}  // namespace strata::nn
