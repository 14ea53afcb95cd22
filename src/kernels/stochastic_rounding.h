#pragma once
// Rounding to bf16 up or down at random, so that the expectation of what is stored is the value itself.
// Source of the idea: Gupta et al. 2015, arXiv:1502.02551. The random bits are a function of (seed, step,
// index): no state, any order, any number of threads, and a resumed run draws what it would have drawn.

#include <bit>
#include <cstdint>

#include "core/rng.h"
#include "core/types.h"

namespace fathom {

/// The two bf16 that enclose x, the upper (away from zero) with the probability that `random` (16 bits,
/// uniform) gives it: the low 16 bits of x, over 2^16. Exact: E = x wherever |x| is below the largest bf16.
/// Infinity stays, NaN stays NaN.
inline bf16 stochastic_bf16(float x, uint32_t random) {
  const auto u = std::bit_cast<uint32_t>(x);
  bf16 rounded;
  const bool nan = (u & 0x7fffffffu) > 0x7f800000u;  // its payload may carry into the sign
  rounded.bits = static_cast<uint16_t>(nan ? (u >> 16) | 0x40u : (u + (random & 0xffffu)) >> 16);
  return rounded;
}

/// Key of one step's random bits.
struct RoundingKey {
  uint64_t words;
};
inline RoundingKey rounding_key(uint64_t seed, uint64_t step) { return {Rng(seed, step).next()}; }

/// 32 random bits of element `index`: two rounds of a 32-bit mixer (the finalizer of MurmurHash3, Appleby,
/// public domain), keyed before each, since vectors have no 64-bit product of their own before AVX-512. The
/// index's upper half goes into the second key.
inline uint32_t rounding_bits(RoundingKey key, uint64_t index) {
  const auto mix = [](uint32_t h) {
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    return h ^ (h >> 16);
  };
  const uint32_t first = static_cast<uint32_t>(key.words),
                 second = static_cast<uint32_t>(key.words >> 32) + static_cast<uint32_t>(index >> 32);
  return mix(mix(static_cast<uint32_t>(index) ^ first) ^ second);
}

}  // namespace fathom
