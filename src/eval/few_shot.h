#pragma once
// Which examples stand in front of which question: the draws that lm-evaluation-harness makes, so that
// few-shot scores can be compared item by item.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fathom {

/// Python's random.Random(seed), as far as random.sample needs it (CPython's Lib/random.py and
/// Modules/_randommodule.c: the Mersenne Twister MT19937 of Matsumoto & Nishimura 1998, seeded by
/// init_by_array).
class PythonRandom {
 public:
  explicit PythonRandom(uint32_t seed);
  /// random.sample(range(n), k), k <= n.
  std::vector<size_t> sample(size_t n, size_t k);

 private:
  uint32_t next();
  size_t below(size_t n);

  uint32_t state_[624];
  size_t at_ = 624;
};

/// How the examples of a task's items are chosen.
struct ShotPlan {
  size_t shots = 0;
  size_t pool = 0;          ///< how many examples there are to choose from
  bool first = false;       ///< the first of the pool for every item
  bool same_split = false;  ///< the pool are the items themselves: an item is no example of its own
  /// The harness draws one more than it uses (and so moves its generator on) where a task's file names no
  /// test split, and where the examples are the items themselves.
  bool spare = false;
};

/// For each of `items` items, in order, the indices of its examples in the pool. The harness's seed is 1234.
/// Errors: Error where the pool is too small.
std::vector<std::vector<size_t>> choose_shots(const ShotPlan& plan, size_t items, uint32_t seed = 1234);

}  // namespace fathom
