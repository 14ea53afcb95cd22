// Epilogues by the steps that they stand for: a block is stored, and the separate pass's code runs on it.

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/gemm_epilogue_blocks.h"

namespace fathom::gemm_detail {
namespace {

struct Rounded {
  bf16 rows[kStrip * kStrip];

  Rounded() = default;
  Rounded(const float* sums, size_t count) {
    plain_tile_packing().store(sums, count, kStrip,
                               {rows, DType::kBf16, kStrip, nullptr, 0, nullptr, 0, 1.0f});
  }
  void put(const BlockTarget& to, size_t count) const {
    for (size_t r = 0; r < count; ++r) std::copy_n(rows + r * kStrip, kStrip, to.data + r * to.ld);
  }
};

void swiglu(const float* gate_sums, const float* up_sums, size_t rows, const BlockTarget& act_out,
            GateActivation f) {
  const Rounded gate(gate_sums, rows), up(up_sums, rows);
  Rounded act;
  swiglu_forward_block(act.rows, kStrip, gate.rows, up.rows, {rows, kStrip, kStrip}, f);
  act.put(act_out, rows);
}

void rope(const float* first_sums, const float* second_sums, const BlockTarget& first_out,
          const BlockTarget& second_out, const RopeBlock& block, const RopeTable<float>& table) {
  Rounded first(first_sums, block.rows), second(second_sums, block.rows);
  rope_block(first.rows, second.rows, block, table);
  first.put(first_out, block.rows);
  second.put(second_out, block.rows);
}

void rope_of_a_head(const float* sums, const BlockTarget& out, const RopeBlock& block,
                    const RopeTable<float>& table) {
  Rounded head(sums, block.rows);
  rope_block(head.rows, head.rows + kStrip / 2, block, table);
  head.put(out, block.rows);
}

void store(const float* sums, size_t rows, const BlockTarget& out) { Rounded(sums, rows).put(out, rows); }

void add_exponentials(const float* logits, size_t rows, bool fresh, float* shifts, ExpLanes* lanes) {
  for (size_t r = 0; r < rows; ++r, logits += kStrip) {
    const float highest = *std::max_element(logits, logits + kStrip);
    if (fresh) {
      shifts[r] = std::max(highest, std::numeric_limits<float>::lowest());
      lanes[r] = {};
    } else if (highest > shifts[r] + kMostAboveShift) {
      for (float& sum : lanes[r].sum) sum *= std::exp(shifts[r] - highest);
      shifts[r] = highest;
    }
    for (size_t i = 0; i < kStrip; ++i) lanes[r].sum[i % 16] += std::exp(logits[i] - shifts[r]);
  }
}

}  // namespace

const EpilogueBlocks& plain_epilogue_blocks() {
  static const EpilogueBlocks blocks{swiglu, rope, rope_of_a_head, store, add_exponentials};
  return blocks;
}

}  // namespace fathom::gemm_detail
