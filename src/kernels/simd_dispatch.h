// How one source file becomes code for several instruction sets, through Google Highway.
//
// A kernel's .cpp file begins with
//     #undef HWY_TARGET_INCLUDE
//     #define HWY_TARGET_INCLUDE "kernels/<this file>.cpp"
//     #include "kernels/simd-inl.h"      (which includes this file)
// and is then compiled once for each target below: what stands between HWY_BEFORE_NAMESPACE() and
// HWY_AFTER_NAMESPACE(), under #if FATHOM_SIMD_PASS, in namespaces N_AVX2 and N_AVX3; what stands under
// #if HWY_ONCE, once, for the plain instruction set that the compiler was asked for. The latter holds the
// public functions: they take the reference where use_simd<W>() says no, and otherwise call
// FATHOM_SIMD(name)(arguments...) on pieces of the work, in parallel.
//
// Goals: the choice follows active_isa(), which tests change at run time, and nothing else; no wide
// instruction outside the two namespaces. Non-goals: Highway's own tables of pointers (HWY_EXPORT), which
// ask the processor and not us, and its scalar emulation: FATHOM_ISA=scalar means the reference.
//
// In the SIMD part: internals in an unnamed namespace (the same name may stand in several files), no lambdas
// (they lose the target attribute when a template is instantiated) and no std:: templates.

#ifndef FATHOM_KERNELS_SIMD_DISPATCH_H_
#define FATHOM_KERNELS_SIMD_DISPATCH_H_

#include <hwy/base.h>

#include <type_traits>

#include "kernels/isa.h"

// AVX2 and AVX-512 (Highway's AVX3: F, BW, DQ, VL) only: each target costs compile time, and the sets in
// between or above (SSE4, AVX3_DL) do nothing for these kernels.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_AVX3 | HWY_EMU128 | HWY_SCALAR))
#endif
#include <hwy/detect_targets.h>

namespace fathom {

/// Whether kernels of element type W have code for the instruction set in force: fp32 and bf16 from AVX2 up.
template <class W>
bool use_simd() {
  return !std::is_same_v<W, double> && active_isa() >= Isa::kAvx2;
}

}  // namespace fathom

/// Pointer to the function of that name for the instruction set in force, which must not be scalar.
#define FATHOM_SIMD(...) (active_isa() >= Isa::kAvx512 ? &N_AVX3::__VA_ARGS__ : &N_AVX2::__VA_ARGS__)

/// Whether this pass over the file compiles SIMD code (the last pass, for the baseline, does not).
#define FATHOM_SIMD_PASS (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3)

#endif  // FATHOM_KERNELS_SIMD_DISPATCH_H_

#include <hwy/foreach_target.h>
