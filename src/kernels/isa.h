#pragma once
// Which instruction set the kernels use: the best that the processor has, or the one that FATHOM_ISA names.

#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// In rising order: each includes those below it, but for `amx`, which also needs avx512_bf16.
enum class Isa { kScalar, kAvx2, kAvx512, kAvx512Bf16, kAmx };

/// "scalar", "avx2", "avx512", "avx512_bf16", "amx".
std::string_view isa_name(Isa isa);

/// The instruction sets that this processor and kernel offer, lowest first; always holds kScalar.
const std::vector<Isa>& available_isas();

/// What FATHOM_ISA=`name` asks for. Errors: Error (usage) where it is unknown or the machine lacks it.
Isa parse_isa(const std::string& name);

/// The instruction set in force. First use reads FATHOM_ISA. Errors: Error (usage) where it names an unknown
/// set or one that the machine lacks.
Isa active_isa();

/// Replaces the instruction set in force, for tests. Errors: as active_isa().
void set_active_isa(Isa isa);

}  // namespace fathom
