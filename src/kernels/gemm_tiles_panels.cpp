#include "kernels/gemm_tiles_panels.h"

#include "core/threads.h"

namespace fathom::gemm_detail {
namespace {

// Panels of B that are packed together: 512 bytes or more of a line that runs across K.
constexpr size_t kPanelsTogether = 8;

}  // namespace

void pack_part(const TilePacking& packing, uint32_t* b, const MatrixIn& from, const PartOfB& part) {
  const size_t panels = ceil_div(part.n, kStrip), units = steps_of(part.k) * kStepUnits;
  const Cut pieces(part.k, kBlockDepth, kStepDepth), groups(panels, kPanelsTogether, 1);
  parallel_for(groups.count() * pieces.count(), [&](size_t task) {
    const size_t first = groups.begin(task / pieces.count()), count = groups.size(task / pieces.count());
    const size_t begin = pieces.begin(task % pieces.count()), k = pieces.size(task % pieces.count());
    const auto to = [&](size_t i) { return b + (first + i) * units + steps_of(begin) * kStepUnits; };
    const auto column = [&](size_t i) { return (first + i) * kStrip; };
    if (!from.transposed) {
      return pack_across(packing.b_across, corner(from, part.k0 + begin, part.n0 + column(0)),
                         std::min(count * kStrip, part.n - column(0)), k, to);
    }
    for (size_t i = 0; i < count; ++i)
      packing.b_along(to(i), corner(from, part.n0 + column(i), part.k0 + begin),
                      std::min(kStrip, part.n - column(i)), k);
  });
}

void pack_for_tiles(const TilePacking& packing, uint32_t* to, size_t K, size_t N, MatrixIn b) {
  pack_part(packing, to, b, {0, N, 0, K});
}

}  // namespace fathom::gemm_detail
