// The product on AMX tiles, by cache blocks. Figures of a Xeon with AMX (Emerald Rapids, 48 KiB of L1 and 2
// MiB of L2 a core), in cycles of a step of the inner loop, which is four products (64 cycles at the least)
// and four loads of 1 KiB: 78 with random numbers and all tiles in L1 (with zeros 64: the clock falls with
// the power that numbers draw); 88 where B's tiles are in L1 and A's stream from L2; 107 where both come from
// L2; 140 where sums go to L2 and back every 16 steps. L3 gives 9 bytes a cycle. Hence:
//
// A and B are packed into whole tiles, in the order in which they are loaded (A's rows as they are would cost
// 10 cycles more), and A's tiles are loaded with a hint that leaves them out of L1.
//
// K is cut into blocks of at most 512, of which a panel of B takes 32 KiB. They stay in L1 for a group of
// strips of A, whose sums (4 KiB each) are near too: a group goes through all blocks of K, then its sums go
// to C.
//
// The rows of a tile of C, over all of K up to 1 MiB of A, stay in L2, and panel after panel of B passes by,
// asked for while the one before it is at work. (The other way round, with B in L2 and A passing by, was no
// faster where all of K of enough columns fits, and slower where not.)
//
// What goes past the caches (a large C, the results of epilogues) is written a few rows at a time beside the
// products of the next block: a burst of such stores holds up the loads of tiles behind it (3 to 6% of a
// product with a bf16 C, 768 deep). An ordinary C, whose lines were asked for, is written at once: its loads,
// of an addend above all, would wait in the midst of products (5% of a residual sum).
//
// Each sum is formed in the order of K, whatever the cutting of rows and columns: so that, unlike elsewhere,
// that may follow the number of threads, and the bits are still the same.

#include "kernels/gemm_tiles.h"

#include <cassert>

#include "core/threads.h"
#include "kernels/gemm_blocks.h"
#include "kernels/gemm_tiles_panels.h"
#include "kernels/gemm_tiles_plan.h"

namespace fathom::gemm_detail {
namespace {

// Up to so many columns A is not packed at all where its rows can be loaded as they are. Not where they are
// a multiple of this many bytes apart: 32 of them would share a set or two of L1's 64.
constexpr size_t kMostColumnsUnpacked = 256, kBadStride = 2048;
// In products of so many steps or fewer an epilogue's rows go beside the next block's steps; in deeper ones,
// where they weigh less, they do better at once (3% of gate_up of llama-350m, 1024 deep).
constexpr size_t kMostStepsDeferred = 24;
// Up to this depth a panel goes through in one block: it leaves little of L1, but sums need not come back.
constexpr size_t kWholeDepth = 640;

// Scratch of one thread: all of B that is packed together; strips of A that are at work; sums.
struct Scratch {
  Buffer<uint32_t> b, a;
  Buffer<float> sums;
};
Scratch& scratch() {
  static thread_local Scratch s;
  return s;
}

// Writes C past the caches.
class StreamEpilogue : public TileEpilogue {
 public:
  StreamEpilogue(const TilePacking& packing, const MatrixOut& c)
      : TileEpilogue(0), stream_(packing.stream), out_(whole(c, {})) {}

  void take(const float* sums, const float*, size_t rows, size_t columns, const Place& at) const override {
    stream_(sums, rows, columns, out_.at(at.row, at.column));
  }

 private:
  const StoreSums stream_;
  const Store out_;
};

class TileProduct {
 public:
  /// Without an epilogue C is stored.
  TileProduct(const TileKernels& kernels, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c,
              Addend addend, const TileEpilogue* epilogue = nullptr)
      : kernels_(kernels),
        M_(M),
        N_(N),
        K_(K),
        a_(a),
        b_(b),
        c_(c),
        addend_(addend),
        epilogue_(epilogue),
        half_(epilogue != nullptr ? epilogue->half : 0),
        sides_(half_ > 0 ? 2 : 1),
        together_(epilogue != nullptr ? epilogue->columns_together : kStrip) {
    const size_t stride = a.ld * dtype_size(a.dtype);
    direct_a_ = a.dtype == DType::kBf16 && !a.transposed && N <= kMostColumnsUnpacked &&
                K % kStepDepth == 0 && stride % kTileRowBytes == 0 && stride % kBadStride != 0 &&
                reinterpret_cast<uintptr_t>(a.data) % kTileRowBytes == 0;
  }

  void run() {
    const Cut depths = depths_of(K_, c_.dtype);
    const Cut columns = b_.packed != nullptr
                            ? Cut(N_, N_, kStrip)
                            : columns_of(N_, depths.size(0), kernels_.packed_bytes, together_);
    assert(epilogue_ == nullptr || depths.count() == 1);
    assert(half_ == 0 || columns.count() == 1);
    for (size_t j = 0; j < columns.count(); ++j) {
      for (size_t d = 0; d < depths.count(); ++d)
        run_part({columns.begin(j), columns.size(j), depths.begin(d), depths.size(d)});
    }
  }

 private:
  // What is made together of C's columns [n0, n0 + n), with the products over [k0, k0 + k). Panels of B lie
  // `panel_units` apart.
  struct Part : PartOfB {
    explicit Part(const PartOfB& of) : PartOfB(of), depths(tile_depths_of(k)) {}
    Cut depths;
    const uint32_t* b = nullptr;
    size_t panel_units = 0;
    const TileEpilogue* epilogue = nullptr;  // or null: C is stored block by block
  };

  // Columns of one side where panels come in pairs.
  struct Tile {
    size_t row, rows, column, columns;  // column: from the part's first
  };

  void run_part(const PartOfB& of) {
    Part part(of);
    if (b_.packed != nullptr) {
      part.panel_units = steps_of(K_) * kStepUnits;
      part.b = b_.packed + part.n0 / kStrip * part.panel_units + steps_of(part.k0) * kStepUnits;
    } else {
      part.panel_units = steps_of(part.k) * kStepUnits;
      uint32_t* b = ensure(scratch().b, ceil_div(part.n, kStrip) * part.panel_units);
      pack_part(kernels_.packing, b, b_, part);
      part.b = b;
    }
    // Past the caches where C is large, without an addend, no place for partial sums that are read back, and
    // its rows begin with cache lines.
    const size_t size = dtype_size(c_.dtype);
    const bool whole_lines = (reinterpret_cast<uintptr_t>(c_.data) | c_.ld * size) % kTileRowBytes == 0;
    const bool streams =
        M_ * N_ * size > kMostCached && addend_.data == nullptr && part.k == K_ && whole_lines;
    const StreamEpilogue stream(kernels_.packing, c_);
    part.epilogue = epilogue_ != nullptr ? epilogue_ : streams ? &stream : nullptr;
    const auto [rows, cols] = tiles_of_c(M_, part.n / sides_, part.depths, together_);
    parallel_for(rows.count() * cols.count(), [&, &rows = rows, &cols = cols](size_t task) {
      const size_t r = task / cols.count(), s = task % cols.count();
      multiply_tile(part, {rows.begin(r), rows.size(r), cols.begin(s), cols.size(s)});
    });
  }

  // Tiles that are loaded from A itself must be whole.
  bool loads_directly(size_t row) const {
    return direct_a_ && row < M_ && std::min(kStrip, M_ - row) % kTileRows == 0;
  }

  // A tile of C at one of its depths.
  struct Work {
    Work(const Part& part_, const Tile& tile_, size_t depth, float* sums_)
        : part(part_),
          tile(tile_),
          begin(part.depths.begin(depth)),
          k(part.depths.size(depth)),
          first(depth == 0),
          last(depth + 1 == part.depths.count()),
          strips(ceil_div(tile.rows, kStrip)),
          panels(ceil_div(tile.columns, kStrip)),
          steps(steps_of(k)),
          block_steps(steps_of(
              part.epilogue != nullptr && k <= kWholeDepth ? k : Cut(k, kBlockDepth, kStepDepth).part)),
          lines_a_step(ceil_div(kStepBytes / 64, strips)),
          sums(sums_) {}

    const Part& part;
    const Tile& tile;
    size_t begin, k;  // from the part's first
    bool first, last;
    size_t strips, panels, steps, block_steps;
    size_t lines_a_step;  // of the next panel, to be asked for
    float* sums;

    size_t rows_of(size_t s) const { return std::min(kStrip, tile.rows - s * kStrip); }
    size_t columns_of(size_t p) const { return std::min(kStrip, tile.columns - p * kStrip); }

    // Where the sums of a block lie: those of a group for its time, or each in its own place.
    float* sums_of(size_t p, size_t s, size_t side) const {
      const bool once = first && last;
      const size_t of_a_side = once ? kGroup : panels * strips;
      return sums + (side * of_a_side + (once ? s % kGroup : p * strips + s)) * kBlockSums;
    }
  };

  // Packs the strips of a tile that are not loaded as they are.
  void pack_strips(const Work& w) const {
    const size_t units = w.steps * kStepUnits, k0 = w.part.k0 + w.begin;
    uint32_t* to = ensure(scratch().a, w.strips * units);
    const auto row = [&](size_t s) { return w.tile.row + s * kStrip; };
    const auto rows = [&](size_t s) { return std::min(kStrip, M_ - row(s)); };
    if (a_.transposed) {
      return pack_across(kernels_.packing.a_across, corner(a_, k0, row(0)),
                         std::min(w.strips * kStrip, M_ - row(0)), w.k,
                         [&](size_t s) { return to + s * units; });
    }
    for (size_t s = 0; s < w.strips; ++s) {
      if (!loads_directly(row(s)))
        kernels_.packing.a_along(to + s * units, corner(a_, row(s), k0), rows(s), w.k);
    }
  }

  struct StripOfA {
    const std::byte* data;
    size_t stride, step;
  };

  // Strip s of a tile from a step of the depth on.
  StripOfA strip_of_a(const Work& w, size_t s, size_t step) const {
    const size_t row = w.tile.row + s * kStrip;
    if (loads_directly(row)) {
      const Source from = corner(a_, row, w.part.k0 + w.begin + step * kStepDepth);
      return {from.data, from.ld * dtype_size(from.dtype), kTileRowBytes};
    }
    const uint32_t* strip = scratch().a.data() + (s * w.steps + step) * kStepUnits;
    return {reinterpret_cast<const std::byte*>(strip), kTileRowBytes, kStepBytes};
  }

  // A tile of C: panel by panel of B, a group of strips of A at a time.
  void multiply_tile(const Part& part, const Tile& t) const {
    const ConfiguredTiles configured(kernels_.configure, kernels_.release);
    const size_t depths = part.depths.count();
    float* sums = ensure(scratch().sums, sides_ * blocks_kept(t.rows, t.columns, part.depths) * kBlockSums);
    TileBlock block{};
    Store out = out_of(part);
    Pending pending{};
    pending.epilogue = part.epilogue;
    for (size_t d = 0; d < depths; ++d) {
      const Work work(part, t, d, sums);
      pack_strips(work);
      for (size_t p = 0; p < work.panels; ++p) {
        for (size_t s = 0; s < work.strips; s += kGroup) {
          for (size_t side = 0; side < sides_; ++side)
            multiply_group(block, out, pending, work, p, side, s, std::min(kGroup, work.strips - s));
        }
      }
    }
    if (pending.rows > 0) pending.hand_over(pending.rows);
    if (part.epilogue != nullptr) kernels_.packing.fence();
  }

  // The panel of the part that is number p of a tile's, or its partner.
  size_t panel_of(const Work& w, size_t p, size_t side) const {
    const size_t i = w.tile.column / kStrip + p;
    return half_ == 0 ? i : i / half_ * 2 * half_ + i % half_ + side * half_;
  }
  const uint32_t* packed_panel(const Work& w, size_t p, size_t side) const {
    return w.part.b + panel_of(w, p, side) * w.part.panel_units + steps_of(w.begin) * kStepUnits;
  }

  // `block` and `out` are made once for a tile and changed field by field: a copy of what was just written in
  // pieces waits until all stores before it, those of tiles too, have left the core.
  void multiply_group(TileBlock& block, Store& out, Pending& pending, const Work& w, size_t p, size_t side,
                      size_t first, size_t group) const {
    const uint32_t* panel = packed_panel(w, p, side);
    const uint32_t* next = p + 1 < w.panels ? packed_panel(w, p + 1, side) : nullptr;
    block.cols = w.columns_of(p);
    for (size_t step = 0; step < w.steps; step += block.steps) {
      block.steps = std::min(w.block_steps, w.steps - step);
      block.b = panel + step * kStepUnits;
      block.adds = step > 0 || !w.first;
      const bool complete = w.last && step + block.steps == w.steps && side + 1 == sides_;
      for (size_t j = 0; j < group; ++j) {
        const size_t s = first + j;
        const StripOfA a = strip_of_a(w, s, step);
        block.a = a.data;
        block.a_stride = a.stride;
        block.a_step = a.step;
        block.rows = w.rows_of(s);
        block.sums = w.sums_of(p, s, side);
        if (next != nullptr)
          ask_for_next_panel(block.next_b, next + step * kStepUnits, w.lines_a_step, block.steps, s);
        else
          block.next_b.ask_for_nothing(block.sums);
        if (w.part.epilogue != nullptr) {
          pending.a_step = ceil_div(pending.rows, block.steps);
          kernels_.multiply(block, pending);
          if (complete) set_pending(pending, w, p, s);
          if (complete && w.steps > kMostStepsDeferred) pending.hand_over(pending.rows);
          continue;
        }
        move_out(out, place_of(w, p, s));
        if (w.last && step < kStrip / kRowsAhead)
          ask_for_rows(block.next_out, out, step);
        else
          block.next_out.ask_for_nothing(block.sums);
        kernels_.multiply_and_ask(block);
        if (complete) kernels_.packing.store(block.sums, block.rows, block.cols, out);
      }
    }
  }

  // The block that is complete now.
  void set_pending(Pending& pending, const Work& w, size_t p, size_t s) const {
    pending.sums = w.sums_of(p, s, 0);
    pending.partner = w.sums_of(p, s, sides_ - 1);
    pending.at = place_of(w, p, s);
    pending.rows = w.rows_of(s);
    pending.columns = w.columns_of(p);
  }
  TileEpilogue::Place place_of(const Work& w, size_t p, size_t s) const {
    return {w.tile.row + s * kStrip, w.part.n0 + panel_of(w, p, 0) * kStrip};
  }

  // A block's rows of C come from far away: two of them, or their two lines each, in each step.
  static constexpr size_t kRowsAhead = 2, kLine = 64;
  static void ask_for_rows(Ahead& ahead, const Store& out, size_t step) {
    const size_t row = out.ld * dtype_size(out.dtype);
    ahead.from = static_cast<const std::byte*>(out.out) + step * kRowsAhead * row;
    ahead.line = row;
    ahead.other = out.dtype == DType::kF32 ? kLine : 0;
    ahead.step = kRowsAhead * row;
  }

  // What is the same for all blocks of a tile of C that is stored.
  Store out_of(const Part& part) const {
    Store out = whole(c_, addend_);
    if (part.k0 > 0) {  // partial sums are in C, and the addend with them
      out.acc = static_cast<const float*>(out.out);
      out.acc_ld = out.ld;
      out.addend = nullptr;
    }
    return out;
  }

  // Where a block of sums goes, and what is added to it.
  void move_out(Store& out, const TileEpilogue::Place& at) const {
    const size_t size = dtype_size(c_.dtype);
    out.out = static_cast<std::byte*>(c_.data) + (at.row * c_.ld + at.column) * size;
    if (out.acc != nullptr) out.acc = static_cast<const float*>(out.out);
    if (out.addend != nullptr)
      out.addend = static_cast<const std::byte*>(addend_.data) + (at.row * addend_.ld + at.column) * size;
  }

  // The strips of a tile share in asking for the next panel's lines, `at` and on.
  static void ask_for_next_panel(Ahead& ahead, const uint32_t* at, size_t lines, size_t steps, size_t s) {
    ahead.from = reinterpret_cast<const std::byte*>(at) + s * lines * steps * kLine;
    ahead.line = lines > 1 ? kLine : 0;
    ahead.other = lines > 2 ? 2 * kLine : 0;
    ahead.step = lines * kLine;
  }

  const TileKernels& kernels_;
  const size_t M_, N_, K_;
  const MatrixIn a_, b_;
  const MatrixOut c_;
  const Addend addend_;
  const TileEpilogue* const epilogue_;  // or null
  const size_t half_, sides_;           // of its pairs
  const size_t together_;               // columns that one thread makes
  bool direct_a_;                       // whether A's rows are loaded as they are
};

}  // namespace

void multiply_on_tiles(const TileKernels& kernels, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b,
                       MatrixOut c, Addend addend) {
  TileProduct(kernels, M, N, K, a, b, c, addend).run();
}

void multiply_on_tiles(const TileKernels& kernels, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b,
                       const TileEpilogue& epilogue) {
  assert(takes_epilogue(kernels, N, K, b, epilogue.half > 0));
  // No partial sums in C, as with a bf16 one.
  TileProduct(kernels, M, N, K, a, b, {nullptr, DType::kBf16, N}, {}, &epilogue).run();
}

bool takes_epilogue(const TileKernels& kernels, size_t N, size_t K, const MatrixIn& b, bool pairs) {
  const bool at_once = b.packed != nullptr || columns_of(N, K, kernels.packed_bytes).count() == 1;
  return N % kStrip == 0 && (at_once || !pairs);
}

}  // namespace fathom::gemm_detail
