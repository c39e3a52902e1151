// Element types of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace strata {

// kText: each element is a std::string_view whose bytes the tensor does not own. Texts never enter a graph
// (engine/features.h).
enum class DType : uint8_t { kBool, kU8, kI8, kI16, kU16, kI32, kU32, kI64, kU64, kF16, kBF16, kF32, kF64, kText };

// Bytes of one element.
constexpr size_t SizeOf(DType t) {
  switch (t) {
    case DType::kBool:
    case DType::kU8:
    case DType::kI8:
      return 1;
    case DType::kI16:
    case DType::kU16:
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kI32:
    case DType::kU32:
    case DType::kF32:
      return 4;
    case DType::kI64:
    case DType::kU64:
    case DType::kF64:
      return 8;
    case DType::kText:
      return sizeof(std::string_view);
  }
  return 0;
}

constexpr bool IsFloat(DType t) {
  return t == DType::kF32 || t == DType::kF64 || t == DType::kF16 || t == DType::kBF16;
}

// "f32", "i64", "bool", "BYTES", ...
const char* DTypeName(DType t);

}  // namespace strata
