#pragma once
// The instruction sets that gemm's Highway files are compiled for: the baseline (FATHOM_ISA=scalar, through
// Highway's emulation), AVX2, and AVX-512 (F, BW, DQ, VL). The ones between differ too little to be worth
// their code size. Include before hwy/foreach_target.h, in a block of
// its own, since clang-format sorts blocks.

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/detect_targets.h"
