#include "io/rope_permutation.h"

#include <algorithm>

#include "core/types.h"

namespace fathom {

bool gguf_permutes_qk(std::string_view architecture) { return architecture == "llama"; }

bool is_q_or_k(ParamRole role) {
  return role == ParamRole::kQ || role == ParamRole::kK || role == ParamRole::kQBias ||
         role == ParamRole::kKBias;
}

size_t hf_row_of_gguf(size_t row, size_t head_dim) {
  const size_t in_head = row % head_dim;
  return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

size_t gguf_row_of_hf(size_t row, size_t head_dim) {
  const size_t in_head = row % head_dim, half = head_dim / 2;
  return row - in_head + in_head % half * 2 + in_head / half;
}

template <class T>
void permute_qk(T* gguf, const T* hf, size_t rows, size_t columns, size_t head_dim) {
  for (size_t r = 0; r < rows; ++r)
    std::copy_n(hf + hf_row_of_gguf(r, head_dim) * columns, columns, gguf + r * columns);
}

template <class T>
void unpermute_qk(T* hf, const T* gguf, size_t rows, size_t columns, size_t head_dim) {
  for (size_t r = 0; r < rows; ++r)
    std::copy_n(gguf + gguf_row_of_hf(r, head_dim) * columns, columns, hf + r * columns);
}

#define FATHOM_INSTANTIATE(T)                                     \
  template void permute_qk(T*, const T*, size_t, size_t, size_t); \
  template void unpermute_qk(T*, const T*, size_t, size_t, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
