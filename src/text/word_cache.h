#pragma once
// Ids of short parts of text (mostly words), remembered: they repeat, so that a small direct-mapped table
// answers for nearly all. One thread's at a time; 4 MiB.

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "core/rng.h"

namespace fathom {

class WordCache {
 public:
  /// Appends the ids of `part` to `out`: the remembered ones, else those that `encode(part, out)` appends.
  template <class Encode>
  void encode(std::string_view part, std::vector<int32_t>& out, Encode encode) {
    if (part.size() > kKeyBytes) return encode(part, out);
    std::array<char, 24> padded{};
    std::memcpy(padded.data(), part.data(), part.size());
    padded[kKeyBytes] = static_cast<char>(part.size());
    const auto key = std::bit_cast<std::array<uint64_t, 3>>(padded);
    const uint64_t hash = mix64(key[0] ^ mix64(key[1] ^ (key[2] * 0x9e3779b97f4a7c15ull)));
    Slot& slot = slots_[hash & (kSlots - 1)];
    if (slot.key == key) {
      out.insert(out.end(), slot.ids.begin(), slot.ids.begin() + slot.count);
      return;
    }
    const size_t before = out.size();
    encode(part, out);
    const size_t count = out.size() - before;
    if (count > kSlotIds) return;
    slot.key = key;
    slot.count = static_cast<uint8_t>(count);
    std::copy(out.begin() + static_cast<std::ptrdiff_t>(before), out.end(), slot.ids.begin());
  }

 private:
  static constexpr size_t kSlots = size_t{1} << 16;  // enough for the common words of a language
  static constexpr size_t kKeyBytes = 23;            // longer parts are rare
  static constexpr size_t kSlotIds = 9;              // fills the 64-byte slot

  struct alignas(64) Slot {
    // The part's bytes; the last one is its length, so that an empty slot matches nothing.
    std::array<uint64_t, 3> key{};
    std::array<int32_t, kSlotIds> ids{};
    uint8_t count = 0;
  };
  static_assert(sizeof(Slot) == 64);

  std::unique_ptr<Slot[]> slots_ = std::make_unique<Slot[]>(kSlots);
};

}  // namespace fathom
