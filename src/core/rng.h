#pragma once
// Random numbers that depend on (seed, stream, counter) alone, so that a value does not depend on who drew
// before.

#include <cmath>
#include <cstdint>

namespace fathom {

/// SplitMix64's finalizer (Steele, Lea & Flood 2014): a bijection of 64-bit words that mixes well.
inline uint64_t mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

/// A counter-based generator: draw n of stream s under seed k is a pure function of (k, s, n).
class Rng {
  __extension__ using Wide = unsigned __int128;

 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0)
      : key_(mix64(mix64(seed + 0x9e3779b97f4a7c15ull) ^
                   (stream * 0xd1b54a32d192ed03ull + 0x8cb92ba72f3d8dd7ull))) {}

  uint64_t next() { return mix64(key_ + 0x9e3779b97f4a7c15ull * ++counter_); }
  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// Uniform integer in [0, n), n > 0; Lemire's multiply-shift (bias below n / 2^64).
  uint64_t below(uint64_t n) { return static_cast<uint64_t>((static_cast<Wide>(next()) * n) >> 64); }
  /// Standard normal, by Box and Muller; each call draws two uniforms, so that the counter stays in step.
  double normal() {
    const double u = 1.0 - uniform(), v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586476925 * v);
  }
  /// +1 or -1 (Rademacher).
  double sign() { return (next() >> 63) ? 1.0 : -1.0; }

  uint64_t counter() const { return counter_; }
  void set_counter(uint64_t counter) { counter_ = counter; }

 private:
  uint64_t key_;
  uint64_t counter_ = 0;
};

}  // namespace fathom
