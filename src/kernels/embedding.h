#pragma once
// Token embedding.

#include <cstddef>
#include <cstdint>

#include "core/types.h"

namespace fathom {

/// x (rows, C) = table (V, C) at tokens (rows). The caller has checked 0 <= token < V.
template <class W>
void embedding_forward(Stream<W>* x, const W* table, const int32_t* tokens, size_t rows, size_t C);

/// dtable (V, C) += dx (rows, C) at tokens (rows), in the order of the rows: same bits whatever the number of
/// threads.
template <class S>
void embedding_backward(S* dtable, const S* dx, const int32_t* tokens, size_t rows, size_t C);

template <class W>
void embedding_forward_ref(Stream<W>* x, const W* table, const int32_t* tokens, size_t rows, size_t C);
template <class S>
void embedding_backward_ref(S* dtable, const S* dx, const int32_t* tokens, size_t rows, size_t C);

}  // namespace fathom
