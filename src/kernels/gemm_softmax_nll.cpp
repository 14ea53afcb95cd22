// The loss of a language model's head without its logits.

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/profile.h"
#include "core/threads.h"
#include "kernels/gemm_blocks.h"
#include "kernels/gemm_epilogue_blocks.h"
#include "kernels/gemm_epilogues.h"

namespace fathom {
namespace gemm_detail {
namespace {

// Columns whose exponentials are summed in fp32, and by one thread, so that the bits are the same for any
// number of them: a row's 32 x 2 numbers stay near while a tile goes through so many columns.
constexpr size_t kColumnsTogether = 1024;

// Kept between calls.
struct Sums {
  Buffer<ExpLanes> lanes;  // (runs of columns, M)
  Buffer<float> shifts;
  Buffer<float> of_target;  // (M)
};
Sums& kept_sums() {
  static thread_local Sums sums;
  return sums;
}

class LossEpilogue : public TileEpilogue {
 public:
  LossEpilogue(const EpilogueBlocks& blocks, const int32_t* targets, size_t M, size_t V, Sums& kept)
      : TileEpilogue(0, kColumnsTogether),
        blocks_(blocks),
        targets_(targets),
        M_(M),
        runs_(ceil_div(V, kColumnsTogether)),
        lanes_(ensure(kept.lanes, runs_ * M)),
        shifts_(ensure(kept.shifts, runs_ * M)),
        of_target_(ensure(kept.of_target, M)) {}

  void take(const float* logits, const float*, size_t rows, size_t, const Place& at) const override {
    const size_t to = at.column / kColumnsTogether * M_ + at.row;
    blocks_.add_exponentials(logits, rows, at.column % kColumnsTogether == 0, shifts_ + to, lanes_ + to);
    for (size_t r = 0; r < rows; ++r) {
      const size_t column =
          static_cast<size_t>(targets_[at.row + r]) - at.column;  // huge where it is not here
      if (column < kStrip) of_target_[at.row + r] = logits[r * kStrip + column];
    }
  }

  double nll(size_t row) const {
    if (targets_[row] < 0) return 0;
    float highest = -std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < runs_; ++i) highest = std::max(highest, shifts_[i * M_ + row]);
    double total = 0;
    for (size_t i = 0; i < runs_; ++i) {
      double run = 0;
      for (const float sum : lanes_[i * M_ + row].sum) run += static_cast<double>(sum);
      total += run * std::exp(static_cast<double>(shifts_[i * M_ + row]) - static_cast<double>(highest));
    }
    return std::log(total) + static_cast<double>(highest) - static_cast<double>(of_target_[row]);
  }

 private:
  const EpilogueBlocks& blocks_;
  const int32_t* const targets_;
  const size_t M_, runs_;
  ExpLanes* const lanes_;
  float *const shifts_, *const of_target_;
};

}  // namespace

bool softmax_nll_on_tiles(const TileKernels& kernels, double* nll, const int32_t* targets, size_t M, size_t V,
                          size_t K, MatrixIn a, MatrixIn b) {
  if (!takes_epilogue(kernels, V, K, b, false)) return false;
  const LossEpilogue losses(*kernels.packing.epilogues, targets, M, V, kept_sums());
  multiply_on_tiles(kernels, M, V, K, a, b, losses);
  parallel_ranges(M, 16, [&](size_t begin, size_t end) {
    for (size_t row = begin; row < end; ++row) nll[row] = losses.nll(row);
  });
  return true;
}

}  // namespace gemm_detail

bool gemm_softmax_nll(double* nll, const int32_t* targets, size_t M, size_t V, size_t K, MatrixIn a,
                      MatrixIn b) {
  using namespace gemm_detail;
  if (K == 0 || !runs_on_tiles(M, DType::kBf16)) return false;
  if (!softmax_nll_on_tiles(amx_kernels(), nll, targets, M, V, K, a, b)) return false;
  profile_work(2.0 * static_cast<double>(M * V) * static_cast<double>(K),
               static_cast<double>((M * K + K * V) * sizeof(bf16)));
  return true;
}

}  // namespace fathom
