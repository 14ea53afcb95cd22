// Attention on tiles against the reference, at run time.

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/buffer.h"
#include "core/rng.h"
#include "kernels/tile_trust.h"

namespace fathom {
namespace {

// Two heads that read one of keys; head sizes and positions that do not fill tiles.
constexpr size_t kNH = 2, kNKV = 1, kHS = 40, kStride = (kNH + 2 * kNKV) * kHS;

std::vector<bf16> random_values(size_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<bf16> values(n);
  for (bf16& v : values) v = bf16(static_cast<float>(rng.normal()));
  return values;
}

struct Passes {
  std::vector<bf16> out, dqkv;  ///< dqkv: the rows hold q, k and v, as the model's do
  std::vector<float> lse;

  explicit Passes(size_t T) : out(T * kNH * kHS), dqkv(T * kStride), lse(kNH * T) {}
  bf16* dq() { return dqkv.data(); }
  bf16* dk() { return dq() + kNH * kHS; }
  bf16* dv() { return dk() + kNKV * kHS; }
};

// Two results in bf16 that lie on two sides of a tie are neighbours.
template <class T>
bool all_close(const std::vector<T>& actual, const std::vector<T>& expected, double error) {
  for (size_t i = 0; i < actual.size(); ++i) {
    const auto a = static_cast<double>(actual[i]), e = static_cast<double>(expected[i]);
    const double step = dtype_of<T>() == DType::kBf16 ? 0x1p-7 * std::fabs(e) : 0.0;
    if (!(std::fabs(a - e) <= error + step)) return false;
  }
  return true;
}

bool agrees(const TileAttention& attention, size_t T, const int32_t* first_key) {
  const std::vector<bf16> qkv = random_values(T * kStride, 1), dout = random_values(T * kNH * kHS, 2);
  const bf16 *q = qkv.data(), *k = q + kNH * kHS, *v = k + kNKV * kHS;
  const AttentionShape s{1, T, T, kNH, kNKV, kHS, kStride, kStride, T * kStride, 0, first_key};
  Passes plain(T), tiles(T);
  attention_forward_ref(plain.out.data(), plain.lse.data(), q, k, v, s);
  attention_backward_ref(plain.dq(), plain.dk(), plain.dv(), dout.data(), plain.out.data(), plain.lse.data(),
                         q, k, v, s);
  Buffer<float> scratch(std::max(tile_forward_scratch_size(T, kHS), tile_backward_scratch_size(T, kHS)));
  attention.forward(tiles.out.data(), tiles.lse.data(), q, k, v, s,
                    {0, 0, 0, ceil_div(T, kAttentionBlock), kNH}, scratch.data());
  // From the reference's forward, so that a fault is seen where it is.
  attention.backward(
      {tiles.dq(), tiles.dk(), tiles.dv(), dout.data(), plain.out.data(), plain.lse.data(), q, k, v}, s, 0, 0,
      kNKV, scratch.data());
  // Scores are standard normal and good to 1e-4. Probabilities and their gradients are rounded to bf16: a
  // mean of v (below 6) is off by up to 2^-8 of 2 or so, a sum over queries by as much of its largest.
  double largest = 2;
  for (const bf16& d : plain.dqkv) largest = std::max(largest, std::fabs(static_cast<double>(d)));
  return all_close(tiles.lse, plain.lse, 1e-4) && all_close(tiles.out, plain.out, 0x1p-7) &&
         all_close(tiles.dqkv, plain.dqkv, 0x1p-8 * (2 + largest));
}

}  // namespace

bool tiles_agree_with_reference(const TileAttention& attention) {
  // More than a block of keys and of queries; and, in less than one, documents of 17 tokens.
  constexpr size_t kT = 141, kDocuments = 45, kDocument = 17;
  std::vector<int32_t> first_key(kDocuments);
  for (size_t t = 0; t < kDocuments; ++t) first_key[t] = static_cast<int32_t>(t / kDocument * kDocument);
  return agrees(attention, kT, nullptr) && agrees(attention, kDocuments, first_key.data());
}

}  // namespace fathom
