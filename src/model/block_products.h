#pragma once
// Internal to model/: a layer's linear maps as matrix products, forward and backward.

#include <string_view>
#include <type_traits>

#include "core/profile.h"
#include "kernels/gemm.h"
#include "model/config.h"
#include "model/weights.h"

namespace fathom {

/// A group of weight matrices that read the same input: (n_i, C) each, side by side in the output. Where they
/// lie one behind the other in memory, as in our own checkpoints, the group is one product; a memory-mapped
/// file may scatter them. Of gradients, those of frozen matrices are null, and are left out.
template <class M>
struct Group {
  M* part[3];
  size_t rows[3];
  size_t parts;
  PackedWeight packed{};  // of the group as a whole

  size_t total() const {
    size_t n = 0;
    for (size_t i = 0; i < parts; ++i) n += rows[i];
    return n;
  }
  bool contiguous(size_t C) const {
    for (size_t i = 0; i < parts; ++i) {
      if (part[i] == nullptr) return false;
      if (i > 0 && part[i] != part[i - 1] + rows[i - 1] * C) return false;
    }
    return true;
  }
  bool empty() const {
    for (size_t i = 0; i < parts; ++i) {
      if (part[i] != nullptr) return false;
    }
    return true;
  }
  // Where it is contiguous: the second operand of its one forward product.
  MatrixIn whole(size_t C) const {
    return {part[0], dtype_of<std::remove_const_t<M>>(), C, true, packed.forward};
  }
  // Calls fn(matrix, its rows, its first output column, its packed forms) for each product to be done.
  template <class Fn>
  void for_each(size_t C, const Fn& fn) const {
    if (contiguous(C)) {
      fn(part[0], total(), size_t{0}, packed);
      return;
    }
    for (size_t i = 0, column = 0; i < parts; column += rows[i], ++i) {
      if (part[i] != nullptr) fn(part[i], rows[i], column, PackedWeight{});
    }
  }
};

template <class M>
Group<M> qkv_group(const ModelConfig& c, M* q, M* k, M* v, const PackedWeight& packed = {}) {
  return {{q, k, v}, {c.q_size(), c.kv_size(), c.kv_size()}, 3, packed};
}
template <class M>
Group<M> gate_up_group(const ModelConfig& c, M* gate, M* up, const PackedWeight& packed = {}) {
  return {{gate, up, nullptr}, {c.intermediate_size, c.intermediate_size, 0}, 2, packed};
}

/// What the profile calls a linear layer's products.
struct ProductNames {
  std::string_view forward, dgrad, wgrad;
};
inline constexpr ProductNames kQkv{"qkv forward", "qkv dgrad", "qkv wgrad"};
inline constexpr ProductNames kO{"o forward", "o dgrad", "o wgrad"};
inline constexpr ProductNames kGateUp{"gate_up forward", "gate_up dgrad", "gate_up wgrad"};
inline constexpr ProductNames kDown{"down forward", "down dgrad", "down wgrad"};

/// y (rows, total) = input (rows, C) W^T
template <class W>
void group_forward(const ProductNames& names, W* y, MatrixIn input, const Group<const W>& group, size_t rows,
                   size_t C) {
  const ProfileScope scope(names.forward);
  constexpr DType kW = dtype_of<W>();
  const size_t ld = group.total();
  group.for_each(C, [&](const W* weight, size_t n, size_t column, const PackedWeight& packed) {
    gemm(rows, n, C, input, {weight, kW, C, true, packed.forward}, {y + column, kW, ld}, kW);
  });
}

/// What a weight gradient (rows of C) is added to.
template <class S>
Addend earlier_gradients(const S* dweight, size_t C, bool fresh) {
  return fresh ? Addend{} : Addend{dweight, C, 1.0};
}

/// dinput (rows, C) = dy (rows, total) W + addend;  dW += dy^T input, or = where they are fresh
template <class W>
void group_backward(const ProductNames& names, Stream<W>* dinput, Addend addend,
                    const Group<Stream<W>>& gradients, bool fresh, const W* dy, MatrixIn input,
                    const Group<const W>& group, size_t rows, size_t C) {
  using S = Stream<W>;
  constexpr DType kW = dtype_of<W>(), kS = dtype_of<S>();
  const size_t ld = group.total();
  if (!gradients.empty()) {  // before dinput is written: it may be the memory of `input`'s gradient, never of
                             // `input`
    const ProfileScope scope(names.wgrad);
    gradients.for_each(C, [&](S* dweight, size_t n, size_t column, const PackedWeight&) {
      gemm(n, C, rows, {dy + column, kW, ld, true}, input, {dweight, kS, C}, kW,
           earlier_gradients(dweight, C, fresh));
    });
  }
  const ProfileScope scope(names.dgrad);
  group.for_each(C, [&](const W* weight, size_t n, size_t column, const PackedWeight& packed) {
    gemm(rows, C, n, {dy + column, kW, ld}, {weight, kW, C, false, packed.dgrad}, {dinput, kS, C}, kW,
         addend);
    addend = {dinput, C, 1.0};
  });
}

/// A linear layer whose output is the stream's: y (rows, out) = x (rows, in) W^T + addend.
template <class W>
void output_forward(const ProductNames& names, Stream<W>* y, const W* x, const W* weight,
                    const PackedWeight& packed, Addend addend, size_t rows, size_t in, size_t out) {
  const ProfileScope scope(names.forward);
  constexpr DType kW = dtype_of<W>();
  gemm(rows, out, in, {x, kW, in}, {weight, kW, in, true, packed.forward}, {y, dtype_of<Stream<W>>(), out},
       kW, addend);
}

/// dx (rows, in) = dy (rows, out) W;  dW += dy^T x, or = where it is fresh
template <class W>
void output_backward(const ProductNames& names, W* dx, Stream<W>* dweight, bool fresh, const Stream<W>* dy,
                     const W* x, const W* weight, const PackedWeight& packed, size_t rows, size_t in,
                     size_t out) {
  constexpr DType kW = dtype_of<W>(), kS = dtype_of<Stream<W>>();
  if (dweight != nullptr) {
    const ProfileScope scope(names.wgrad);
    gemm(out, in, rows, {dy, kS, out, true}, {x, kW, in}, {dweight, kS, in}, kW,
         earlier_gradients(dweight, in, fresh));
  }
  const ProfileScope scope(names.dgrad);
  gemm(rows, in, out, {dy, kS, out}, {weight, kW, in, false, packed.dgrad}, {dx, kW, in}, kW);
}

}  // namespace fathom
