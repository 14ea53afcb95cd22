#pragma once
// Whether the tiles of this machine compute what they should: the instructions differ from their emulation,
// on which all else is tested, in six lines, and those need a processor that has them.

#include <atomic>

#include "kernels/attention_tiles.h"
#include "kernels/gemm_tiles.h"

namespace fathom {

/// Whether products of odd sizes agree with gemm_ref (some milliseconds): blocks of one and of two tiles each
/// way, sums that are added to, A as it is, every packing and store.
bool tiles_agree_with_reference(const gemm_detail::TileKernels& kernels);

/// Whether attention, forward and backward, with and without first keys, agrees with attention_forward_ref
/// and attention_backward_ref (some milliseconds).
bool tiles_agree_with_reference(const TileAttention& attention);

/// The answer of the first tiles_agree_with_reference for both, kept; a warning where it is no. Threads that
/// ask before there is an answer all find out for themselves: one that waited could keep the pool from
/// another.
class TileTrust {
 public:
  bool allows(const gemm_detail::TileKernels& kernels, const TileAttention& attention);

 private:
  enum class State { kUnknown, kGood, kBad };
  std::atomic<State> state_{State::kUnknown};
};

/// Whether the real tiles agree with the reference. FATHOM_GEMM=own leaves them unchecked.
bool amx_is_trusted();

}  // namespace fathom
