#include "kernels/memory_peak.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/memory_peak.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

float read_piece(const float* x, size_t n) {
  const F32 d;
  V32 s0 = hn::Zero(d), s1 = s0;
  for (size_t i = 0; i < n; i += 2 * kLanes) {
    s0 = hn::Add(s0, load(x + i));
    s1 = hn::Add(s1, load(x + i + kLanes));
  }
  return sum_lanes(hn::Add(s0, s1));
}

void update_piece(float* x, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(hn::Neg(load(x + i)), x + i);
}

void write_piece(float* x, size_t n) {
  const V32 one = hn::Set(F32(), 1.0f);
  for (size_t i = 0; i < n; i += kLanes) store(one, x + i);
}

void stream_piece(float* x, size_t n) {
  const F32 d;
  const V32 one = hn::Set(d, 1.0f);
  for (size_t i = 0; i < n; i += kLanes) hn::Stream(one, d, x + i);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS

#if HWY_ONCE
namespace fathom {
namespace {

// Elements of one stream before the next takes its turn: 2 KiB, half of what the processor prefetches along.
constexpr size_t kPiece = 512;

float read_plain(const float* x, size_t n) {
  float sum[4] = {};
  for (size_t i = 0; i < n; i += 4) {
    for (size_t j = 0; j < 4; ++j) sum[j] += x[i + j];
  }
  return sum[0] + sum[1] + sum[2] + sum[3];
}
void update_plain(float* x, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] = -x[i];
}
void write_plain(float* x, size_t n) { std::fill(x, x + n, 1.0f); }
void write_by_memset(float* x, size_t n) { std::memset(x, 1, n * sizeof(float)); }

using Write = void (*)(float*, size_t);
Write write_of(StoreKind stores) {
  if (stores == StoreKind::kMemset) return &write_by_memset;
  if (!use_simd<float>()) return &write_plain;
  return stores == StoreKind::kNonTemporal ? FATHOM_SIMD(stream_piece) : FATHOM_SIMD(write_piece);
}

}  // namespace

float stream_memory(const MemoryMix& mix, std::span<float* const> streams, size_t begin, size_t end,
                    StoreKind stores) {
  const bool simd = use_simd<float>();
  const auto read = simd ? FATHOM_SIMD(read_piece) : &read_plain;
  const auto update = simd ? FATHOM_SIMD(update_piece) : &update_plain;
  const Write write = write_of(stores);
  float sum = 0;
  // memset's own way pays for long pieces only.
  const size_t piece = mix.streams() == 1 ? end - begin : kPiece;
  for (size_t i = begin; i < end; i += piece) {
    const size_t n = std::min(piece, end - i);
    size_t s = 0;
    for (; s < mix.reads; ++s) sum += read(streams[s] + i, n);
    for (; s < mix.reads + mix.updates; ++s) update(streams[s] + i, n);
    for (; s < mix.streams(); ++s) write(streams[s] + i, n);
  }
  if (stores == StoreKind::kNonTemporal) hwy::FlushStream();
  return sum;
}

}  // namespace fathom
#endif  // HWY_ONCE
