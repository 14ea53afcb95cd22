#include "io/dequantize_blocks.h"
#include "io/small_floats.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "io/dequantize_simd.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

// kLanes divides 16, and so each group. Mul and Sub, not MulSub: the reference rounds both.
template <class To>
void unpacked_range(To* to, const UnpackedBlocks& from, size_t n) {
  const hn::Rebind<int8_t, F32> bytes;
  for (size_t g = 0; g * from.group < n; ++g) {
    const V32 scale = hn::Set(F32(), from.scale[g]), min = hn::Set(F32(), from.min[g]);
    for (size_t i = g * from.group; i < (g + 1) * from.group; i += kLanes) {
      const V32 q = hn::ConvertTo(F32(), hn::PromoteTo(I32(), hn::LoadU(bytes, from.q + i)));
      store(hn::Sub(hn::Mul(q, scale), min), to + i);
    }
  }
}

HWY_INLINE V32 load_half(const std::byte* p) {
  const hn::Rebind<hwy::float16_t, F32> halves;
  const hn::Rebind<uint16_t, F32> bits;
  return hn::PromoteTo(F32(), hn::BitCast(halves, hn::LoadU(bits, reinterpret_cast<const uint16_t*>(p))));
}

// Elements of T in the file; a tail goes through a copy, so that nothing behind it is read.
template <class To>
void halves_range(To* to, const std::byte* from, float scale, size_t n) {
  const V32 s = hn::Set(F32(), scale);
  for (size_t i = 0; i < n; i += kLanes) {
    HWY_ALIGN std::byte tail[kLanes * 2] = {};
    const std::byte* p = from + i * 2;
    if (n - i < kLanes) {
      std::memcpy(tail, p, (n - i) * 2);
      p = tail;
    }
    store_n(hn::Mul(load_half(p), s), to + i, n - i);
  }
}

template <class To, class From>
void floats_range(To* to, const std::byte* from, float scale, size_t n) {
  const V32 s = hn::Set(F32(), scale);
  const From* p = reinterpret_cast<const From*>(from);
  for (size_t i = 0; i < n; i += kLanes) store_n(hn::Mul(load_n(p + i, n - i), s), to + i, n - i);
}

template <class To>
void table_range(To* to, const float* table, const std::byte* from, float scale, size_t n) {
  const V32 s = hn::Set(F32(), scale);
  for (size_t i = 0; i < n; i += kLanes) {
    HWY_ALIGN float values[kLanes] = {};
    const size_t m = n - i < kLanes ? n - i : kLanes;
    for (size_t k = 0; k < m; ++k) values[k] = table[static_cast<uint8_t>(from[i + k])];
    store_n(hn::Mul(hn::Load(F32(), values), s), to + i, n - i);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS

#if HWY_ONCE
namespace fathom {
namespace {

struct Float8Tables {
  Float8Tables() {
    for (int b = 0; b < 256; ++b) {
      e4m3[b] = e4m3_to_float(static_cast<uint8_t>(b));
      e5m2[b] = e5m2_to_float(static_cast<uint8_t>(b));
    }
  }
  float e4m3[256], e5m2[256];
};

}  // namespace

template <class To>
void unpacked_to(To* to, const UnpackedBlocks& from, size_t n) {
  FATHOM_SIMD(unpacked_range<To>)(to, from, n);
}

template <class To>
void plain_to(To* to, StoredType type, const std::byte* from, float scale, size_t n) {
  static const Float8Tables tables;
  switch (type) {
    case StoredType::kF32:
      return FATHOM_SIMD(floats_range<To, float>)(to, from, scale, n);
    case StoredType::kBf16:
      return FATHOM_SIMD(floats_range<To, bf16>)(to, from, scale, n);
    case StoredType::kF16:
      return FATHOM_SIMD(halves_range<To>)(to, from, scale, n);
    case StoredType::kF8E4M3:
      return FATHOM_SIMD(table_range<To>)(to, tables.e4m3, from, scale, n);
    case StoredType::kF8E5M2:
      return FATHOM_SIMD(table_range<To>)(to, tables.e5m2, from, scale, n);
    default:
      refuse_type(type);
  }
}

template void unpacked_to(float*, const UnpackedBlocks&, size_t);
template void unpacked_to(bf16*, const UnpackedBlocks&, size_t);
template void plain_to(float*, StoredType, const std::byte*, float, size_t);
template void plain_to(bf16*, StoredType, const std::byte*, float, size_t);

}  // namespace fathom
#endif  // HWY_ONCE
