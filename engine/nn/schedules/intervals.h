// Parts of schedules that several share.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace strata::nn {

// Intervals of `length` that have passed.
inline double Intervals(int64_t e, int64_t length, bool whole) {
  const double p = static_cast<double>(e) / static_cast<double>(length);
  return whole ? std::floor(p) : p;
}

// 1 at the start of a half wave, 0 at its end.
inline double HalfWave(double fraction) { return 0.5 * (1 + std::cos(std::numbers::pi * fraction)); }

}  // namespace strata::nn
