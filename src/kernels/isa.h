#pragma once
// Which instruction set the kernels use: the fastest that the processor has, or the one that FATHOM_ISA
// names.

#if !defined(__x86_64__)
#error "the kernels are written for x86-64"
#endif

#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// In rising order: each includes all below it. So does `amx`: without avx512_bf16, which its kernels use
/// beside the tiles, a machine does not count as having it.
enum class Isa { kScalar, kAvx2, kAvx512, kAvx512Bf16, kAmx };

/// "scalar", "avx2", "avx512", "avx512_bf16", "amx".
std::string_view isa_name(Isa isa);

/// The instruction sets that this processor and kernel offer, lowest first; always holds kScalar.
const std::vector<Isa>& available_isas();

/// Whether this processor's product of bf16 pairs (VDPBF16PS) is slower than its fp32 FMA. Intel's cores
/// since Golden Cove, which leave bf16 to AMX, finish one of 512 bits every second cycle, and two FMAs in
/// each (measured on Emerald Rapids: docs/performance.md); AMD's Zen 5 makes bf16
/// products at twice the rate of FMAs (the same), and Intel says so of Cooper Lake. Known by the processor's
/// name, not by a measurement: the same machine must make the same bits in each run.
bool slow_bf16_pairs();

/// The fastest of `available` (rising order, not empty): the last, except that avx512_bf16 gives way to the
/// one below it where `slow_pairs`. Everything stays bf16 in memory; products are of floats.
Isa fastest_isa(const std::vector<Isa>& available, bool slow_pairs);

/// What FATHOM_ISA=`name` asks for. Errors: Error (usage) where it is unknown or the machine lacks it.
Isa parse_isa(const std::string& name);

/// The instruction set in force: the fastest, or FATHOM_ISA's. First use reads FATHOM_ISA. Errors: Error
/// (usage) where it names an unknown set or one that the machine lacks.
Isa active_isa();

/// Replaces the instruction set in force, for tests. Errors: as active_isa().
void set_active_isa(Isa isa);

}  // namespace fathom
