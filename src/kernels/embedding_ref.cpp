#include "kernels/embedding.h"

namespace fathom {

template <class W>
void embedding_forward_ref(Stream<W>* x, const W* table, const int32_t* tokens, size_t rows, size_t C) {
  for (size_t r = 0; r < rows; ++r) {
    const W* row = table + static_cast<size_t>(tokens[r]) * C;
    for (size_t i = 0; i < C; ++i) x[r * C + i] = Stream<W>(row[i]);
  }
}

template <class S>
void embedding_backward_ref(S* dtable, const S* dx, const int32_t* tokens, size_t rows, size_t C) {
  for (size_t r = 0; r < rows; ++r) {
    S* row = dtable + static_cast<size_t>(tokens[r]) * C;
    for (size_t i = 0; i < C; ++i) row[i] += dx[r * C + i];
  }
}

template void embedding_forward_ref(double*, const double*, const int32_t*, size_t, size_t);
template void embedding_forward_ref(float*, const float*, const int32_t*, size_t, size_t);
template void embedding_forward_ref(float*, const bf16*, const int32_t*, size_t, size_t);
template void embedding_backward_ref(double*, const double*, const int32_t*, size_t, size_t);
template void embedding_backward_ref(float*, const float*, const int32_t*, size_t, size_t);

}  // namespace fathom
