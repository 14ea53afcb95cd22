// The tile registers of processors with AMX. The instructions are written out: g++ 12's own wrappers do not
// tell the compiler that a load reads memory, nor that a configuration has more than eight bytes, and take no
// template parameter for a register. AT&T order: the destination is last.

#include "kernels/gemm_tiles-inl.h"

#if defined(__x86_64__)

namespace fathom::gemm_detail {
namespace {

// The registers' state belongs to the thread, and to whoever configured it last (oneDNN too, on the same
// threads): the driver configures before each of its tiles of C and releases after it, which costs nothing
// beside the products, and spares the kernel 8 KiB at each later switch of threads.
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
  template <int T>
  static void store(void* data, size_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(data), "r"(stride), "i"(T) : "memory");
  }
  template <int C, int A, int B>
  static void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
};

}  // namespace

const TileKernels& amx_kernels() {
  static const TileKernels kernels{AmxTiles::configure, AmxTiles::release, multiply_tile_block<AmxTiles>,
                                   avx512_tile_packing()};
  return kernels;
}

}  // namespace fathom::gemm_detail

#else

#include "core/error.h"

namespace fathom::gemm_detail {

const TileKernels& amx_kernels() { fail("this processor has no amx"); }

}  // namespace fathom::gemm_detail

#endif
