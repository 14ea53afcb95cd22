#include "kernels/memory_peak.h"

#include "core/buffer.h"
#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

TEST(MemoryPeak, TouchesEachElementOfEachStreamOnceAsTheMixSays) {
  constexpr size_t kLength = 4096, kBegin = 32, kEnd = kLength - 64;
  for_each_isa([&] {
    for (StoreKind stores : {StoreKind::kOrdinary, StoreKind::kNonTemporal, StoreKind::kMemset}) {
      for (const MemoryMix& mix : {MemoryMix{2, 1, 1}, {0, 0, 1}, {1, 0, 0}, {0, 2, 0}}) {
        std::vector<Buffer<float>> buffers;
        std::vector<float*> streams;
        for (size_t s = 0; s < mix.streams(); ++s) {
          buffers.emplace_back(kLength);
          streams.push_back(buffers.back().data());
          for (size_t i = 0; i < kLength; ++i) streams[s][i] = 3.0f;
        }
        const float sum = stream_memory(mix, streams, kBegin, kEnd, stores);
        EXPECT_EQ(sum, 3.0f * static_cast<float>(mix.reads * (kEnd - kBegin)));  // whole numbers: exact
        for (size_t s = 0; s < mix.streams(); ++s) {
          for (size_t i = 0; i < kLength; ++i) {
            const bool inside = kBegin <= i && i < kEnd;
            if (!inside || s < mix.reads) {
              ASSERT_EQ(streams[s][i], 3.0f) << s << " " << i;
            } else if (s < mix.reads + mix.updates) {
              ASSERT_EQ(streams[s][i], -3.0f) << s << " " << i;
            } else {
              ASSERT_NE(streams[s][i], 3.0f) << s << " " << i;
            }
          }
        }
      }
    }
  });
}

TEST(MemoryPeak, CountsAnUpdatedStreamTwice) {
  EXPECT_EQ((MemoryMix{2, 6, 1}).transfers(), 15u);
  EXPECT_EQ((MemoryMix{2, 6, 1}).streams(), 9u);
}

}  // namespace
}  // namespace fathom
