#pragma once
// Traffic to and from memory in the mixes of reads and writes that our kernels have: what `bench peak`
// states, and what `bench elementwise` and --breakdown hold the kernels to.

#include <string>
#include <vector>

#include "core/buffer.h"
#include "kernels/memory_peak.h"

namespace fathom::cli {

struct NamedMix {
  const char* name;
  MemoryMix mix;
};
const std::vector<NamedMix>& memory_mixes();
/// Errors: Error (internal) for a name that is not in the list.
const NamedMix& memory_mix(const std::string& name);

/// Arrays for one mix, far larger than the caches, and passes over them.
class MemoryTraffic {
 public:
  explicit MemoryTraffic(const MemoryMix& mix);
  /// Bytes of one pass that the mix counts; see MemoryMix::transfers.
  double bytes() const;
  /// The kinds of store that make a difference to the mix.
  std::vector<StoreKind> store_kinds() const;
  /// One pass, on one thread or all.
  void pass(StoreKind stores, bool all_threads);

 private:
  MemoryMix mix_;
  size_t length_;
  Buffer<float> memory_;
  std::vector<float*> streams_;
  std::vector<float> sums_;
};

/// Bytes a second of the mix: the best kind of store, the median of some passes each.
double memory_bandwidth(const MemoryMix& mix);

}  // namespace fathom::cli
