#pragma once
// What this machine can do at most, for comparison: products that never leave the registers.

#include <cstddef>

#include "core/types.h"

namespace fathom {

/// Runs `steps` steps of multiplications and additions on registers, on the calling thread, with the widest
/// instructions that gemm would use for `compute` (kF32 or kBf16) under active_isa(). Returns the number of
/// floating point operations done (2 a product and sum): divided by the seconds taken, the peak of one core.
double spin_products(DType compute, size_t steps);

/// The same with operands that are loaded from the first-level cache in each step, where that makes a
/// difference: on AMX, as in gemm's own inner loop. What a product could reach if nothing came from further
/// away.
double spin_loaded_products(DType compute, size_t steps);

}  // namespace fathom
