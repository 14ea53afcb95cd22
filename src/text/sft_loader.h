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

  /// Targets in the training examples, and in the validation examples.
  uint64_t targets() const;
  uint64_t validation_targets() const;
  /// Share of the positions of training windows that hold an example.
  double fill() const;
  /// A hash of all examples, the window and the seed: a run resumes bit for bit where it is the same.
  uint64_t fingerprint() const;

 private:
  /// Places are numbered so that those of one length are neighbours.
  struct Place {
    uint32_t length;  ///< positions
    uint32_t first;   ///< the first place of this length
    uint32_t count;   ///< how many there are
    uint32_t index;   ///< of this one among them
  };
  struct Packing {
    std::vector<SftExample> examples;            ///< longest first
    std::vector<Place> places;                   ///< as many as examples
    std::vector<std::vector<uint32_t>> windows;  ///< places in each
  };
  static Packing pack(std::vector<SftExample> examples, size_t seq);
  void fill_window(const Packing& packing, uint64_t window, const uint64_t* deal_key, int32_t* inputs,
                   int32_t* targets, int32_t* first_key) const;

  Packing training_, validation_;
  size_t seq_;
  uint64_t seed_;
  int32_t pad_id_;
};

}  // namespace fathom
