#pragma once
// Windows of supervised examples: several in one window, none seeing another.
//
// An example of n ids takes n - 1 positions: inputs ids[0, n - 1), targets ids[1, n) where they are scored
// and -1 elsewhere. Examples are packed once, by length alone (best fit, longest first; Ding et al. 2024,
// arXiv:2404.10830), so that an epoch always has the same number of windows. Each epoch then deals the
// examples anew among the places of their length, and the windows come in another order; both orders are
// keyed permutations, computed and not stored. So any window of the run is found at once, and where a run
// stands is one number.

#include <cstdint>
#include <vector>

#include "text/sft.h"

namespace fathom {

class SftLoader {
 public:
  /// Examples of at most seq + 1 ids. `pad_id` is the input of positions that are left over: they have no
  /// target and see themselves alone. Errors: Error where there is no training example; Error (usage) for a
  /// seq of 0.
  SftLoader(std::vector<SftExample> training, std::vector<SftExample> validation, size_t seq, uint64_t seed,
            int32_t pad_id);

  uint64_t windows_per_epoch() const { return training_.windows.size(); }

  /// Window number `index` of the run, counted from its start over all epochs; any index, in any order.
  /// Shapes: inputs, targets (seq); first_key (seq): for each position the index, in the window, of the first
  /// position of its example. It must reach the model: without it examples see one another.
  void window(uint64_t index, int32_t* inputs, int32_t* targets, int32_t* first_key) const;

  /// Validation windows, in an order that never changes; together they score every target of the validation
  /// examples once. 0 where there are none.
  uint64_t validation_windows() const { return validation_.windows.size(); }
  void validation_window(uint64_t index, int32_t* inputs, int32_t* targets, int32_t* first_key) const;

  size_t examples() const { return training_.examples.size(); }
  size_t validation_examples() const { return validation_.examples.size(); }
  /// Positions that hold an example, in an epoch, and those of them that have a target.
  uint64_t tokens() const;
  uint64_t targets() const;
  uint64_t validation_tokens() const;
  uint64_t validation_targets() const;
  /// Share of the positions of training windows that hold an example.
  double fill() const;
  /// A hash of all examples, the window and the seed: a run resumes bit for bit where it is the same.
  uint64_t fingerprint() const;

 private:
  /// The room of one example in a window. Places are in the order of the examples, longest first, so that
  /// those of one length are neighbours.
  struct Place {
    size_t length;  ///< positions
    size_t first;   ///< the first place of this length
    size_t count;   ///< how many there are
  };
  struct Packing {
    std::vector<SftExample> examples;
    std::vector<Place> places;
    std::vector<std::vector<size_t>> windows;  ///< the places in each
  };
  static Packing pack(std::vector<SftExample> examples, size_t seq);
  /// The example that stands at a place in an epoch.
  const SftExample& dealt(size_t place, uint64_t epoch) const;
  struct Rows {
    int32_t *inputs, *targets, *first_key;
  };
  void put(const SftExample& example, size_t at, const Rows& rows) const;
  void pad(size_t from, const Rows& rows) const;

  Packing training_, validation_;
  size_t seq_;
  uint64_t seed_;
  int32_t pad_id_;
};

}  // namespace fathom
