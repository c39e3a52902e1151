// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11).
// A number depends only on (key, counter), so threads, passes and recomputation keep the bits.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace strata {

struct Philox {
  // Ten rounds on the 128-bit counter with the 64-bit key.
  static std::array<uint32_t, 4> Block(uint64_t key, uint64_t counter_lo, uint64_t counter_hi) {
    uint32_t c0 = static_cast<uint32_t>(counter_lo), c1 = static_cast<uint32_t>(counter_lo >> 32);
    uint32_t c2 = static_cast<uint32_t>(counter_hi), c3 = static_cast<uint32_t>(counter_hi >> 32);
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t{0xD2511F53} * c0, p1 = uint64_t{0xCD9E8D57} * c2;
      const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c1 = static_cast<uint32_t>(p1);
      c3 = static_cast<uint32_t>(p0);
      c0 = n0;
      c2 = n2;
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    return {c0, c1, c2, c3};
  }

  // 24 random bits as a float in [0, 1).
  static float ToUniform(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }
};

// FNV-1a: names random streams by (parameter or call path, purpose); the same on every machine.
constexpr uint64_t StreamHash(std::string_view text, uint64_t seed = 0xcbf29ce484222325) {
  for (const char c : text) seed = (seed ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return seed;
}

}  // namespace strata
