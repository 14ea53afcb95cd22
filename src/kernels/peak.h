#pragma once
// What this machine can do at most, for comparison: products that never leave the registers.

#include <cstddef>

#include "core/types.h"

namespace fathom {

/// Runs `steps` steps of multiplications and additions on registers, on the calling thread, with the widest
/// instructions that gemm would use for `compute` (kF32 or kBf16) under active_isa(). Returns the number of
/// floating point operations done (2 a product and sum): divided by the seconds taken, the peak of one core.
double spin_products(DType compute, size_t steps);

}  // namespace fathom
