// Padding of axes with what they hold, for the layers that pad and crop.
#pragma once

#include <string>
#include <vector>

#include "engine/nn/scope.h"
#include "google/protobuf/repeated_field.h"

namespace strata::nn {

enum class PadKind : uint8_t { kZero, kReflect, kReplicate, kCircular };

// Adds `lo` and `hi` cells (negative: crops). Reflection and the other end cannot give more cells than they have: fails
// with the argument `padding`. `value` fills for kZero.
Value PadAxis(Scope& s, PadKind kind, Value x, int axis, int64_t lo, int64_t hi, double value = 0);
// Takes `lo` and `hi` cells away. Fails if fewer than `least` are left.
Value CropAxis(Scope& s, Value x, int axis, int64_t lo, int64_t hi, int64_t least = 1);

// PyTorch's layers: `padding` is one number or pairs from the last axis on.
Outputs PadPairs(Scope& s, const google::protobuf::RepeatedField<int64_t>& padding, const Args& args, int axes,
                 PadKind kind, double value);
// Keras' argument `name`: one number, one for each axis, or a pair for each. Fails, and is false, otherwise.
bool KerasPairs(Scope& s, const char* name, const google::protobuf::RepeatedField<int64_t>& given, int axes,
                std::vector<int64_t>* lo, std::vector<int64_t>* hi);

// Of the layers' samples: an input, and a pair of entries for each axis, "2, 1, 0, 1".
Shape PadSampleShape(int axes, bool channels_last);
std::string PadSamplePairs(int first, int second, int axes);

}  // namespace strata::nn
