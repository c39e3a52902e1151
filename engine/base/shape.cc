#include "engine/base/shape.h"

#include "absl/strings/str_cat.h"

namespace strata {

int64_t NumElements(std::span<const int64_t> shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

bool CheckedNumElements(std::span<const int64_t> shape, int64_t* count) {
  constexpr int64_t kMax = int64_t{1} << 48;
  int64_t n = 1;
  for (int64_t d : shape) {
    if (d < 0 || d > kMax) return false;
    if (__builtin_mul_overflow(n, d, &n) || n > kMax) return false;
  }
  *count = n;
  return true;
}

std::string ShapeString(std::span<const int64_t> shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    absl::StrAppend(&s, i ? ", " : "", shape[i] == -1 ? "?" : absl::StrCat(shape[i]));
  }
  return s + "]";
}

Shape Strides(std::span<const int64_t> shape) {
  Shape s(shape.size());
  int64_t n = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    s[i] = n;
    n *= shape[i];
  }
  return s;
}

}  // namespace strata
