// Few queries over the keys of a cache, as in decoding.

#include "kernels/attention_testing.h"

namespace fathom {
namespace {

using namespace attention_testing;

TEST(Attention, DecodesFromACache) {
  for_each_isa([] {
    for (size_t q_start : {0u, 1u, 30u, 63u, 64u, 100u, 257u}) {
      for (size_t Tq : {1u, 3u, 4u, 5u, 66u}) {
        for (bool windowed : {false, true}) {
          for (const double softcap : {0.0, 1.5}) {
            check_cache<float>(q_start, Tq, windowed, softcap);
            check_cache<bf16>(q_start, Tq, windowed, softcap);
          }
        }
      }
    }
  });
}

// Groups of heads that are taken at once and in parts, vectors of a head in fours, singly and in part; keys
// in one piece, in whole ones, and a last short one.
TEST(Attention, DecodesFromALongCacheWithManyHeads) {
  for_each_isa([] {
    for (const Heads& heads :
         {Heads{1, 1, 8}, Heads{3, 1, 64}, Heads{8, 1, 72}, Heads{5, 5, 128}, Heads{14, 2, 200}}) {
      for (size_t q_start : {255u, 256u, 511u, 900u}) {
        for (bool windowed : {false, true}) {
          check_cache<float>(q_start, 1, windowed, 0.0, heads);
          check_cache<bf16>(q_start, 2, windowed, 0.0, heads);
        }
      }
    }
  });
}

// A query's bits depend neither on the threads nor on what is decoded beside it, or stands before it.
TEST(Attention, DecodesTheSameBitsWhateverTheThreadsAndThePadding) {
  for_each_isa([] {
    const size_t NH = 6, NKV = 2, HS = 40, T = 700, pad = 133;
    const auto q = random_values<bf16>(NH * HS, 1);
    const auto k = random_values<bf16>(T * NKV * HS, 2), v = random_values<bf16>(T * NKV * HS, 3);
    std::vector<bf16> k_padded(pad * NKV * HS), v_padded(pad * NKV * HS);
    k_padded.insert(k_padded.end(), k.begin(), k.end());
    v_padded.insert(v_padded.end(), v.begin(), v.end());
    const auto decode = [&](size_t positions, const std::vector<bf16>& keys, const std::vector<bf16>& values,
                            int32_t first) {
      AttentionShape s{
          1, 1, positions, NH, NKV, HS, NH * HS, NKV * HS, positions * NKV * HS, positions - 1, &first};
      std::vector<bf16> out(NH * HS);
      std::vector<float> lse(NH);
      attention_forward(out.data(), lse.data(), q.data(), keys.data(), values.data(), s);
      std::vector<float> all(lse);
      for (const bf16 x : out) all.push_back(static_cast<float>(x));
      return all;
    };
    set_num_threads(1);
    const std::vector<float> expected = decode(T, k, v, 0);
    for (const size_t threads : {2u, 5u}) {
      set_num_threads(threads);
      EXPECT_EQ(decode(T, k, v, 0), expected);
      EXPECT_EQ(decode(T + pad, k_padded, v_padded, pad), expected);
    }
    set_num_threads(0);
  });
}

}  // namespace
}  // namespace fathom
