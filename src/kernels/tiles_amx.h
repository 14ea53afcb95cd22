#pragma once
// The tile registers of processors with AMX. The instructions are written out: g++ 12's own wrappers do not
// tell the compiler that a load reads memory, nor that a configuration has more than eight bytes, and take no
// template parameter for a register. AT&T order: the destination is last.

#include <cstddef>

#include "kernels/gemm_tiles.h"

namespace fathom::gemm_detail {

// The registers' state belongs to the thread, and to whoever configured it last (oneDNN too, on the same
// threads): a kernel configures before each piece of its work and releases after it (ConfiguredTiles), which
// costs nothing beside the products, and spares the kernel of the system 8 KiB at each later switch of
// threads.
struct AmxTiles {
  static void configure(const TileConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config)); }
  static void release() { asm volatile("tilerelease"); }
  template <int T>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(T));
  }
  template <int T>
  static void load(const void* data, size_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(data), "r"(stride), "i"(T) : "memory");
  }
  // For what is read once from L2: the line does not displace what L1 holds.
  template <int T>
  static void load_streamed(const void* data, size_t stride) {
    asm volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" : : "r"(data), "r"(stride), "i"(T) : "memory");
  }
  template <int T>
  static void store(void* data, size_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(data), "r"(stride), "i"(T) : "memory");
  }
  template <int C, int A, int B>
  static void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
};

}  // namespace fathom::gemm_detail
