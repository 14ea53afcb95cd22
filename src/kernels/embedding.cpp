#include "kernels/embedding.h"

#include <type_traits>

#include <hwy/cache_control.h>

#include "core/profile.h"
#include "core/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/embedding.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

// Asks for n elements ahead of their use: rows of a table stand in no order that the processor foresees.
template <class T>
HWY_INLINE void prefetch_row(const T* row, size_t n) {
  for (size_t i = 0; i < n; i += 64 / sizeof(T)) hwy::Prefetch(row + i);
}

template <class W>
void look_up_rows(float* x, const W* table, const int32_t* tokens, size_t rows, size_t C) {
  for (size_t r = 0; r < rows; ++r, x += C) {
    const W* row = table + static_cast<size_t>(tokens[r]) * C;
    if (r + 1 < rows) prefetch_row(table + static_cast<size_t>(tokens[r + 1]) * C, C);
    for (size_t i = 0; i < C; i += kLanes) store_n(load_n(row + i, C - i), x + i, C - i);
  }
}

// Columns [begin, end) of all rows.
void add_columns(float* dtable, const float* dx, const int32_t* tokens, size_t rows, size_t C, size_t begin,
                 size_t end) {
  for (size_t r = 0; r < rows; ++r, dx += C) {
    float* row = dtable + static_cast<size_t>(tokens[r]) * C;
    if (r + 1 < rows) {
      prefetch_row(dtable + static_cast<size_t>(tokens[r + 1]) * C + begin, end - begin);
      prefetch_row(dx + C + begin, end - begin);
    }
    for (size_t i = begin; i < end; i += kLanes) {
      const size_t n = end - i;
      store_n(hn::Add(load_n(row + i, n), load_n(dx + i, n)), row + i, n);
    }
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
constexpr size_t kRowGrain = 64;  // rows a chunk: enough work to hide the hand-over to a thread
// Columns a chunk in backward: 1 KiB, so that chunks share no cache line and memory is read in long pieces.
constexpr size_t kColumnGrain = 256;
}  // namespace

template <class W>
void embedding_forward(Stream<W>* x, const W* table, const int32_t* tokens, size_t rows, size_t C) {
  const ProfileScope scope("embedding forward", 0,
                           static_cast<double>(rows * C * (sizeof(W) + sizeof(Stream<W>))));
  if (!use_simd<W>()) return embedding_forward_ref(x, table, tokens, rows, C);
  if constexpr (!std::is_same_v<W, double>) {
    const auto chunk = FATHOM_SIMD(look_up_rows<W>);
    parallel_ranges(rows, kRowGrain, [&](size_t begin, size_t end) {
      chunk(x + begin * C, table, tokens + begin, end - begin, C);
    });
  }
}

template <class S>
void embedding_backward(S* dtable, const S* dx, const int32_t* tokens, size_t rows, size_t C) {
  const ProfileScope scope("embedding backward", 0, static_cast<double>(3 * rows * C * sizeof(S)));
  if (!use_simd<S>()) return embedding_backward_ref(dtable, dx, tokens, rows, C);
  if constexpr (std::is_same_v<S, float>) {
    // A token may stand in many rows; cutting by columns keeps each sum on one thread and in the order of the
    // rows.
    const auto chunk = FATHOM_SIMD(add_columns);
    parallel_ranges(C, kColumnGrain,
                    [&](size_t begin, size_t end) { chunk(dtable, dx, tokens, rows, C, begin, end); });
  }
}

template void embedding_forward(double*, const double*, const int32_t*, size_t, size_t);
template void embedding_forward(float*, const float*, const int32_t*, size_t, size_t);
template void embedding_forward(float*, const bf16*, const int32_t*, size_t, size_t);
template void embedding_backward(double*, const double*, const int32_t*, size_t, size_t);
template void embedding_backward(float*, const float*, const int32_t*, size_t, size_t);

}  // namespace fathom
#endif  // HWY_ONCE
