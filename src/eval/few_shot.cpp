#include "eval/few_shot.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <string>
#include <unordered_set>

#include "core/error.h"

namespace fathom {

PythonRandom::PythonRandom(uint32_t seed) {
  constexpr size_t N = 624;
  state_[0] = 19650218u;
  const auto mix = [&](size_t i, uint32_t factor) {
    return (state_[i - 1] ^ (state_[i - 1] >> 30)) * factor;
  };
  for (size_t i = 1; i < N; ++i) state_[i] = mix(i, 1812433253u) + static_cast<uint32_t>(i);
  size_t i = 1;
  const auto advance = [&] {
    if (++i < N) return;
    state_[0] = state_[N - 1];
    i = 1;
  };
  for (size_t k = 0; k < N; ++k, advance())
    state_[i] = (state_[i] ^ mix(i, 1664525u)) + seed;  // a key of one word
  for (size_t k = 1; k < N; ++k, advance())
    state_[i] = (state_[i] ^ mix(i, 1566083941u)) - static_cast<uint32_t>(i);
  state_[0] = 0x80000000u;
}

uint32_t PythonRandom::next() {
  constexpr size_t N = 624, M = 397;
  if (at_ == N) {
    for (size_t k = 0; k < N; ++k) {
      const uint32_t y = (state_[k] & 0x80000000u) | (state_[(k + 1) % N] & 0x7fffffffu);
      state_[k] = state_[(k + M) % N] ^ (y >> 1) ^ ((y & 1) != 0 ? 0x9908b0dfu : 0u);
    }
    at_ = 0;
  }
  uint32_t y = state_[at_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

size_t PythonRandom::below(size_t n) {
  const int bits = std::bit_width(n);  // at most 32: files have fewer lines
  while (true) {
    const size_t r = next() >> (32 - bits);
    if (r < n) return r;
  }
}

std::vector<size_t> PythonRandom::sample(size_t n, size_t k) {
  size_t set_size = 21;  // of a small set; below it Python draws from a list that it shrinks
  if (k > 5)
    set_size +=
        static_cast<size_t>(std::pow(4.0, std::ceil(std::log(static_cast<double>(k) * 3) / std::log(4.0))));
  std::vector<size_t> result;
  if (n <= set_size) {
    std::vector<size_t> pool(n);
    std::iota(pool.begin(), pool.end(), size_t{0});
    for (size_t i = 0; i < k; ++i) {
      const size_t j = below(n - i);
      result.push_back(pool[j]);
      pool[j] = pool[n - i - 1];
    }
    return result;
  }
  std::unordered_set<size_t> seen;
  while (result.size() < k) {
    const size_t j = below(n);
    if (seen.insert(j).second) result.push_back(j);
  }
  return result;
}

std::vector<std::vector<size_t>> choose_shots(const ShotPlan& plan, size_t items, uint32_t seed) {
  std::vector<std::vector<size_t>> chosen(items);
  if (plan.shots == 0) return chosen;
  const size_t draws = plan.shots + (plan.spare && !plan.first ? 1 : 0);
  if (draws > plan.pool)
    fail("there are " + std::to_string(plan.pool) + " examples to draw " + std::to_string(draws) + " from",
         "give a smaller --num-fewshot");
  PythonRandom random(seed);
  for (size_t item = 0; item < items; ++item) {
    std::vector<size_t>& shots = chosen[item];
    if (plan.first) {
      shots.resize(plan.shots);
      std::iota(shots.begin(), shots.end(), size_t{0});
      continue;
    }
    shots = random.sample(plan.pool, draws);
    if (plan.same_split) std::erase(shots, item);
    shots.resize(plan.shots);
  }
  return chosen;
}

}  // namespace fathom
