#include "cli/bench_memory.h"

#include <algorithm>
#include <string>

#include "cli/bench.h"
#include "core/error.h"
#include "core/threads.h"

namespace fathom::cli {
namespace {

// All streams of a mix together: beyond the caches of most servers' share of L3, and small enough for a
// laptop.
constexpr size_t kBytes = size_t{256} << 20;
constexpr size_t kPiece = size_t{64} << 10;  // elements of each stream that a thread takes at a time
// Between streams: streams that start at the same offset of a page would share the cache's sets and the
// memory's banks.
constexpr size_t kApart = 5 * 256 + 16;

}  // namespace

const std::vector<NamedMix>& memory_mixes() {
  // The ratios of the kernels below; AdamW's is half a gradient, a value and two moments, and a bf16 copy.
  static const std::vector<NamedMix> all{{"read", {1, 0, 0}},
                                         {"write", {0, 0, 1}},
                                         {"update", {0, 1, 0}},
                                         {"copy", {1, 0, 1}},
                                         {"2 read 1 write", {2, 0, 1}},
                                         {"1 read 2 write", {1, 0, 2}},
                                         {"3 read 2 write", {3, 0, 2}},
                                         {"1 read 1 update", {1, 1, 0}},
                                         {"2 read 1 update", {2, 1, 0}},
                                         {"2 read 6 update 1 write", {2, 6, 1}}};
  return all;
}

const NamedMix& memory_mix(const std::string& name) {
  for (const NamedMix& m : memory_mixes()) {
    if (name == m.name) return m;
  }
  fail("internal: there is no mix of memory traffic named " + name);
}

MemoryTraffic::MemoryTraffic(const MemoryMix& mix)
    : mix_(mix),
      length_(kBytes / sizeof(float) / mix.streams() / kPiece * kPiece),
      memory_(mix.streams() * (length_ + kApart)),
      sums_(length_ / kPiece) {
  for (size_t i = 0; i < mix.streams(); ++i) streams_.push_back(memory_.data() + i * (length_ + kApart));
  // A page that nobody has written is one and the same page of zeros, which the caches hold: reading it would
  // pass for a memory of 200 GB/s.
  parallel_ranges(memory_.size(), kPiece, [&](size_t begin, size_t end) {
    std::fill(memory_.data() + begin, memory_.data() + end, 1.0f);
  });
}

double MemoryTraffic::bytes() const {
  return static_cast<double>(mix_.transfers() * length_ * sizeof(float));
}

std::vector<StoreKind> MemoryTraffic::store_kinds() const {
  if (mix_.writes == 0) return {StoreKind::kOrdinary};
  if (mix_.streams() > 1) return {StoreKind::kOrdinary, StoreKind::kNonTemporal};
  return {StoreKind::kOrdinary, StoreKind::kNonTemporal, StoreKind::kMemset};
}

void MemoryTraffic::pass(StoreKind stores, bool all_threads) {
  const auto piece = [&](size_t i) {
    sums_[i] = stream_memory(mix_, streams_, i * kPiece, (i + 1) * kPiece, stores);
  };
  if (all_threads) return parallel_for(sums_.size(), piece);
  for (size_t i = 0; i < sums_.size(); ++i) piece(i);
}

double memory_bandwidth(const MemoryMix& mix) {
  MemoryTraffic traffic(mix);
  double best = 0;
  for (StoreKind stores : traffic.store_kinds())
    best = std::max(best, traffic.bytes() / time_calls([&] { traffic.pass(stores, true); }).median_s);
  return best;
}

}  // namespace fathom::cli
