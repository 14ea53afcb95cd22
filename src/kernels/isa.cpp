#include "kernels/isa.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>

#include "core/error.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fathom {
namespace {

constexpr Isa kAll[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx};

// __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the wide registers.
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_avx512_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }

// Intel's processors with VDPBF16PS, but for Cooper Lake (family 6, model 85): Golden Cove and what came
// after.
bool is_slow_at_bf16_pairs() {
  if (!has_avx512_bf16() || !__builtin_cpu_is("intel")) return false;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return true;
  const unsigned family = (a >> 8) & 0xfu, model = ((a >> 12) & 0xf0u) | ((a >> 4) & 0xfu);
  return !(family == 6 && model == 85);
}

bool has_amx() {
  if (!has_avx512_bf16()) return false;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool tile = (d >> 24) & 1u, bf16 = (d >> 22) & 1u;
  if (!tile || !bf16) return false;
  // Linux grants the tile registers' state (XTILEDATA, feature 18) on request: ARCH_REQ_XCOMP_PERM.
  return ::syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

std::string available_names() {
  std::string names;
  for (Isa isa : available_isas()) names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  return names;
}

Isa initial_isa() {
  const char* forced = std::getenv("FATHOM_ISA");
  if (forced == nullptr || *forced == '\0') return fastest_isa(available_isas(), slow_bf16_pairs());
  return parse_isa(forced);
}

std::atomic<int>& slot() {
  static std::atomic<int> isa{static_cast<int>(initial_isa())};
  return isa;
}

}  // namespace

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512_bf16";
    case Isa::kAmx:
      return "amx";
  }
  return "unknown";
}

const std::vector<Isa>& available_isas() {
  static const std::vector<Isa> isas = [] {
    std::vector<Isa> have{Isa::kScalar};
    if (has_avx2()) have.push_back(Isa::kAvx2);
    if (has_avx512()) have.push_back(Isa::kAvx512);
    if (has_avx512_bf16()) have.push_back(Isa::kAvx512Bf16);
    if (has_amx()) have.push_back(Isa::kAmx);
    return have;
  }();
  return isas;
}

bool slow_bf16_pairs() {
  static const bool slow = is_slow_at_bf16_pairs();
  return slow;
}

Isa fastest_isa(const std::vector<Isa>& available, bool slow_pairs) {
  const Isa best = available.back();
  return best == Isa::kAvx512Bf16 && slow_pairs ? Isa::kAvx512 : best;
}

Isa parse_isa(const std::string& name) {
  const auto& have = available_isas();
  for (Isa isa : kAll) {
    if (isa_name(isa) != name) continue;
    if (std::find(have.begin(), have.end(), isa) != have.end()) return isa;
    usage_error("FATHOM_ISA=" + name + ": this machine lacks it", "it has " + available_names());
  }
  usage_error("FATHOM_ISA=" + name + ": unknown instruction set", "this machine has " + available_names());
}

Isa active_isa() { return static_cast<Isa>(slot().load(std::memory_order_relaxed)); }

void set_active_isa(Isa isa) {
  const auto& have = available_isas();
  if (std::find(have.begin(), have.end(), isa) == have.end()) {
    usage_error("this machine lacks " + std::string(isa_name(isa)), "it has " + available_names());
  }
  slot().store(static_cast<int>(isa), std::memory_order_relaxed);
}

}  // namespace fathom
