#include "kernels/rope.h"

namespace fathom {

template <class W>
void rope(W* x, size_t rows, size_t stride, size_t heads, size_t HS, size_t T, size_t first_position,
          const RopeTable<Stream<W>>& table, bool inverse, const Stream<W>* bias) {
  rope_ref(x, rows, stride, heads, HS, T, first_position, table, inverse, bias);
}

template void rope(double*, size_t, size_t, size_t, size_t, size_t, size_t, const RopeTable<double>&, bool,
                   const double*);
template void rope(float*, size_t, size_t, size_t, size_t, size_t, size_t, const RopeTable<float>&, bool,
                   const float*);
template void rope(bf16*, size_t, size_t, size_t, size_t, size_t, size_t, const RopeTable<float>&, bool,
                   const float*);

}  // namespace fathom
