#include "io/rope_permutation.h"

#include <numeric>
#include <vector>

#include <gtest/gtest.h>

namespace fathom {
namespace {

// What convert_hf_to_gguf.py does, step by step: reshape (heads, 2, head_dim / 2), swap the last two.
std::vector<float> converter(const std::vector<float>& hf, size_t heads, size_t head_dim, size_t columns) {
  std::vector<float> out;
  for (size_t h = 0; h < heads; ++h) {
    for (size_t i = 0; i < head_dim / 2; ++i) {
      for (size_t part = 0; part < 2; ++part) {
        const size_t row = h * head_dim + part * (head_dim / 2) + i;
        out.insert(out.end(), hf.begin() + row * columns, hf.begin() + (row + 1) * columns);
      }
    }
  }
  return out;
}

TEST(RopePermutation, IsTheConvertersAndComesBack) {
  for (const size_t head_dim : {2u, 8u, 14u}) {
    const size_t heads = 3, columns = 5, n = heads * head_dim * columns;
    std::vector<float> hf(n), gguf(n), back(n);
    std::iota(hf.begin(), hf.end(), 0.0f);
    permute_qk(gguf.data(), hf.data(), heads * head_dim, columns, head_dim);
    EXPECT_EQ(gguf, converter(hf, heads, head_dim, columns));
    if (head_dim > 2) {
      EXPECT_NE(gguf, hf);
    }
    unpermute_qk(back.data(), gguf.data(), heads * head_dim, columns, head_dim);
    EXPECT_EQ(back, hf);
  }
}

TEST(RopePermutation, IsLlamasAlone) {
  EXPECT_TRUE(gguf_permutes_qk("llama"));
  for (const char* other : {"qwen2", "qwen3", "gemma", "gemma2", "gemma3", "olmo2", "phi3"})
    EXPECT_FALSE(gguf_permutes_qk(other)) << other;
}

}  // namespace
}  // namespace fathom
