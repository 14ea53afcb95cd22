// The product on tiles against the reference, at run time: the instructions differ from their emulation, on
// which all else is tested, in six lines, and those need a processor that has them.

#include <cmath>

#include "core/log.h"
#include "core/rng.h"
#include "kernels/gemm_blocks.h"
#include "kernels/gemm_tiles.h"

namespace fathom::gemm_detail {
namespace {

// More than one strip, panel and block of K, and a part of the next: each kind of block, each of packing.
constexpr size_t kM = 37, kN = 53, kK = 291;

template <class T>
Buffer<T> random_matrix(size_t size, uint64_t seed) {
  Buffer<T> m(size);
  Rng rng(seed);
  for (T& v : m.span()) v = T(static_cast<float>(2.0 * rng.uniform() - 1.0));
  return m;
}

// c += a b, operands of type T.
template <class T>
bool agrees(const TileKernels& kernels, bool a_transposed, bool b_transposed) {
  const Buffer<T> a = random_matrix<T>(kM * kK, 1), b = random_matrix<T>(kK * kN, 2);
  Buffer<float> c = random_matrix<float>(kM * kN, 3), expected = random_matrix<float>(kM * kN, 3);
  const MatrixIn a_in{a.data(), dtype_of<T>(), a_transposed ? kM : kK, a_transposed};
  const MatrixIn b_in{b.data(), dtype_of<T>(), b_transposed ? kK : kN, b_transposed};
  const auto out = [](Buffer<float>& m) { return MatrixOut{m.data(), DType::kF32, kN}; };
  gemm_ref(kM, kN, kK, a_in, b_in, out(expected), DType::kBf16, {expected.data(), kN});
  multiply_on_tiles(kernels, kM, kN, kK, a_in, b_in, out(c), {c.data(), kN});
  // Float sums of K products of numbers up to 1 err by about eps K / 3.
  constexpr float kTolerance = 0x1p-23f * (kK + 8);
  for (size_t i = 0; i < c.size(); ++i) {
    if (!(std::fabs(c[i] - expected[i]) <= kTolerance)) return false;
  }
  return true;
}

}  // namespace

bool tiles_agree_with_reference(const TileKernels& kernels) {
  return agrees<bf16>(kernels, false, true) && agrees<float>(kernels, false, false) &&
         agrees<bf16>(kernels, true, false);
}

bool TileTrust::allows(const TileKernels& kernels) {
  const State known = state_.load(std::memory_order_acquire);
  if (known != State::kUnknown) return known == State::kGood;
  const bool good = tiles_agree_with_reference(kernels);
  State before = State::kUnknown;
  const bool first = state_.compare_exchange_strong(before, good ? State::kGood : State::kBad);
  if (first && !good) {
    log_warning(
        "matrix products on AMX tiles are wrong on this machine: using oneDNN's instead; please report it");
  }
  return first ? good : before == State::kGood;
}

}  // namespace fathom::gemm_detail
