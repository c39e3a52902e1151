#pragma once

#include <cstdint>

namespace strata {

// PlanOptions::cache_bytes with which small graphs have bands of steps.
constexpr int64_t kTinyCache = 64;

}  // namespace strata
