#include "kernels/tile_trust.h"

#include "core/log.h"
#include "kernels/gemm.h"

namespace fathom {

bool TileTrust::allows(const gemm_detail::TileKernels& kernels, const TileAttention& attention) {
  const State known = state_.load(std::memory_order_acquire);
  if (known != State::kUnknown) return known == State::kGood;
  const bool good = tiles_agree_with_reference(kernels) && tiles_agree_with_reference(attention);
  State before = State::kUnknown;
  const bool first = state_.compare_exchange_strong(before, good ? State::kGood : State::kBad);
  if (first && !good) {
    log_warning(
        "matrix products or attention on AMX tiles are wrong on this machine: using oneDNN and vectors "
        "instead; "
        "please report it");
  }
  return first ? good : before == State::kGood;
}

bool amx_is_trusted() {
  static TileTrust trust;
  return gemm_backend() == GemmBackend::kOwn || trust.allows(gemm_detail::amx_kernels(), amx_attention());
}

}  // namespace fathom
