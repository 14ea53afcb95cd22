// The product on tiles against the reference, at run time.

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/buffer.h"
#include "core/rng.h"
#include "kernels/gemm_kernels.h"
#include "kernels/tile_trust.h"

namespace fathom {
namespace {

using namespace gemm_detail;

// A whole strip and a part of the next, the part no more than a tile: blocks of one and of two tiles each
// way. Two blocks of K, the second added to the first. (Positions along K in whole steps, where A is to be
// loaded as it is.)
constexpr size_t kM = 37, kN = 45, kK = 547, kWholeK = 544;

template <class T>
Buffer<T> random_matrix(size_t size, uint64_t seed) {
  Buffer<T> m(size);
  Rng rng(seed);
  for (T& v : m.span()) v = T(static_cast<float>(2.0 * rng.uniform() - 1.0));
  return m;
}

// `sum_error`: of float sums. Two bf16 results whose sums lie on two sides of a tie are neighbours.
template <class C>
bool all_close(const Buffer<C>& c, const Buffer<C>& expected, float sum_error) {
  for (size_t i = 0; i < c.size(); ++i) {
    const auto e = static_cast<float>(expected[i]);
    const float error = sum_error + (dtype_of<C>() == DType::kBf16 ? 0x1p-7f * std::fabs(e) : 0.0f);
    if (!(std::fabs(static_cast<float>(c[i]) - e) <= error)) return false;
  }
  return true;
}

// c = a b, or c += a b where `adds`; operands of type T.
template <class T, class C>
bool product_agrees(const TileKernels& kernels, size_t K, bool a_transposed, bool b_transposed, bool adds) {
  const Buffer<T> a = random_matrix<T>(kM * K, 1), b = random_matrix<T>(K * kN, 2);
  Buffer<C> c = random_matrix<C>(kM * kN, 3), expected = random_matrix<C>(kM * kN, 3);
  const MatrixIn a_in{a.data(), dtype_of<T>(), a_transposed ? kM : K, a_transposed};
  const MatrixIn b_in{b.data(), dtype_of<T>(), b_transposed ? K : kN, b_transposed};
  const auto addend = [&](const Buffer<C>& m) { return adds ? Addend{m.data(), kN} : Addend{}; };
  gemm_ref(kM, kN, K, a_in, b_in, {expected.data(), dtype_of<C>(), kN}, DType::kBf16, addend(expected));
  multiply_on_tiles(kernels, kM, kN, K, a_in, b_in, {c.data(), dtype_of<C>(), kN}, addend(c));
  // Float sums of K products of numbers up to 1 err by about eps K / 3.
  return all_close(c, expected, 0x1p-23f * static_cast<float>(K + 8));
}

// Sums as they are, into a float matrix: the products of epilogues and of large results, which go beside
// another block's rows.
class Sums : public TileEpilogue {
 public:
  Sums(Buffer<float>& to, size_t ld) : TileEpilogue(0), to_(to), ld_(ld) {}
  void take(const float* sums, const float*, size_t rows, size_t columns, const Place& at) const override {
    for (size_t i = 0; i < rows; ++i)
      std::copy_n(sums + i * kStrip, columns, to_.data() + (at.row + i) * ld_ + at.column);
  }

 private:
  Buffer<float>& to_;
  const size_t ld_;
};

bool sums_agree(const TileKernels& kernels) {
  constexpr size_t kWholeN = 2 * kStrip;
  const Buffer<bf16> a = random_matrix<bf16>(kM * kK, 1), b = random_matrix<bf16>(kWholeN * kK, 2);
  const MatrixIn a_in{a.data(), DType::kBf16, kK}, b_in{b.data(), DType::kBf16, kK, true};
  Buffer<float> c(kM * kWholeN), expected(kM * kWholeN);
  gemm_ref(kM, kWholeN, kK, a_in, b_in, {expected.data(), DType::kF32, kWholeN}, DType::kBf16);
  multiply_on_tiles(kernels, kM, kWholeN, kK, a_in, b_in, Sums(c, kWholeN));
  return all_close(c, expected, 0x1p-23f * static_cast<float>(kK + 8));
}

// A block of sums to C, whole and narrow, with and without partial sums and an addend; and past the caches,
// where products too large for this check go.
template <class C>
bool stores_agree(const TilePacking& packing) {
  const Buffer<float> sums = random_matrix<float>(kBlockSums, 1), acc = random_matrix<float>(kBlockSums, 2);
  const Buffer<C> addend = random_matrix<C>(kBlockSums, 3);
  const auto agrees = [&](StoreSums put, size_t rows, size_t cols, bool has_acc, bool has_addend) {
    Buffer<C> got(kBlockSums), expected(kBlockSums);
    const auto store = [&](Buffer<C>& to) {
      return Store{to.data(), dtype_of<C>(),
                   kStrip,    has_acc ? acc.data() : nullptr,
                   kStrip,    has_addend ? addend.data() : nullptr,
                   kStrip,    0.5f};
    };
    put(sums.data(), rows, cols, store(got));
    packing.fence();
    plain_tile_packing().store(sums.data(), rows, cols, store(expected));
    return all_close(got, expected, 0x1p-21f);  // a few roundings of numbers below 3
  };
  for (const size_t cols : {kStrip, kStrip - 3}) {
    for (const bool has_acc : {false, true}) {
      for (const bool has_addend : {false, true}) {
        if (!agrees(packing.store, kStrip - 1, cols, has_acc, has_addend)) return false;
      }
    }
  }
  return agrees(packing.stream, kStrip - 1, kStrip, false, false);
}

}  // namespace

bool tiles_agree_with_reference(const TileKernels& kernels) {
  return product_agrees<bf16, float>(kernels, kK, false, true, true) &&
         product_agrees<float, bf16>(kernels, kK, false, false, false) &&
         product_agrees<bf16, float>(kernels, kK, true, false, true) &&
         product_agrees<float, float>(kernels, kK, true, true, false) &&
         product_agrees<bf16, bf16>(kernels, kWholeK, false, true, true) && sums_agree(kernels) &&
         stores_agree<float>(kernels.packing) && stores_agree<bf16>(kernels.packing);
}

}  // namespace fathom
