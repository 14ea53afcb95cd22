#include "kernels/embedding.h"

#include <algorithm>

#include "core/threads.h"

namespace fathom {
namespace {
constexpr size_t kRowGrain = 64;  // rows a chunk: enough work to hide the hand-over to a thread
constexpr size_t kColumnGrain =
    128;  // columns a chunk in backward: 512 bytes, so that chunks share no cache line
}  // namespace

template <class W>
void embedding_forward(Stream<W>* x, const W* table, const int32_t* tokens, size_t rows, size_t C) {
  parallel_ranges(rows, kRowGrain, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const W* row = table + static_cast<size_t>(tokens[r]) * C;
      for (size_t i = 0; i < C; ++i) x[r * C + i] = Stream<W>(row[i]);
    }
  });
}

template <class S>
void embedding_backward(S* dtable, const S* dx, const int32_t* tokens, size_t rows, size_t C) {
  // A token may stand in many rows; cutting by columns keeps each sum on one thread and in the order of the
  // rows.
  parallel_ranges(C, kColumnGrain, [&](size_t begin, size_t end) {
    for (size_t r = 0; r < rows; ++r) {
      S* row = dtable + static_cast<size_t>(tokens[r]) * C;
      for (size_t i = begin; i < end; ++i) row[i] += dx[r * C + i];
    }
  });
}

template void embedding_forward(double*, const double*, const int32_t*, size_t, size_t);
template void embedding_forward(float*, const float*, const int32_t*, size_t, size_t);
template void embedding_forward(float*, const bf16*, const int32_t*, size_t, size_t);
template void embedding_backward(double*, const double*, const int32_t*, size_t, size_t);
template void embedding_backward(float*, const float*, const int32_t*, size_t, size_t);

}  // namespace fathom
