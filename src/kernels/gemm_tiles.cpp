// The product on AMX tiles, by cache blocks. Figures of a Xeon with AMX (Emerald Rapids, 48 KiB of L1, 2 MiB of
// L2 a core), measured in cycles of a step of the inner loop, which is four products (64 cycles at the least) and
// four loads of 1 KiB: 78 with random numbers and all tiles in L1 (with zeros 64: the clock falls with the power
// that the numbers draw); 88 where B's tiles are in L1 and A's stream from L2, 107 where both come from L2,
// 140 where in addition sums go to L2 and back every 16 steps; L3 gives 9 bytes a cycle. Hence:
// - A and B are packed into whole tiles, in the order in which they are loaded (as rows of 64 bytes apart,
//   A's tiles cost 10 cycles more), and A's are loaded with a hint that leaves them out of L1.
// - K is cut into blocks of at most 512, of which a panel of B takes 32 KiB, which stay in L1 for a group of strips
//   of A, whose sums (4 KiB each) stay there too: a group goes through all blocks of K, then its sums go to C.
// - All of K for the rows of a tile of C, up to 1 MiB of A, stays in L2, and panel after panel of B passes by, asked
//   for while the one before it is at work.
//
// Each sum is formed in the order of K, whatever the cutting of rows and columns: so that, unlike elsewhere,
// that may follow the number of threads, and the bits are still the same.

#include "kernels/gemm_tiles.h"

#include "core/threads.h"
#include "kernels/gemm_blocks.h"

namespace fathom::gemm_detail {
namespace {

constexpr size_t kBlockDepth = 512;
// Strips that go through the blocks of K together.
constexpr size_t kGroup = 4;
// Depth that is packed before the product runs where partial sums can live in a float C: 2048 rows of x, as
// a weight gradient reads them, are packed at once. Also the depth of A that is kept in L2; a product that is
// deeper keeps its sums in memory from one such depth to the next.
constexpr size_t kPackedDepth = 2048;
// Bytes of B that are packed at once. Each thread reads a panel of them from L3; A is packed anew for each
// such part, so that it must not be narrow.
constexpr size_t kPackedBytes = size_t{16} << 20;
// The largest tile of C: the rows whose A stays in L2 (1 MiB), and as many columns as there are, but for a
// product whose sums are kept in memory.
constexpr size_t kMostRows = 256, kMostColumnsKept = 1024;
// Tiles of C for each thread, so that the last to finish is not waited for long.
constexpr size_t kTilesPerThread = 2;
// A tile of C with fewer columns does not pack A by itself, if others need the same rows: packing a row of 64
// bytes takes 2 (rows of A) to 5 cycles (columns), its products columns / 16.
constexpr size_t kColumnsToPackFor = 512;
// Up to so many columns A is not packed at all where its rows can be loaded as they are. Not where they are
// a multiple of this many bytes apart: 32 of them would share a set or two of L1's 64.
constexpr size_t kMostColumnsUnpacked = 256, kBadStride = 2048;

size_t steps_of(size_t k) { return ceil_div(k, kStepDepth); }

// Scratch of one thread: all of what is packed together; what a tile of C packs; its sums.
struct Scratch {
  Buffer<uint32_t> b, a, tile_a;
  Buffer<float> sums;
};
Scratch& scratch() {
  static thread_local Scratch s;
  return s;
}

class TileProduct {
 public:
  TileProduct(const TileKernels& kernels, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c,
              Addend addend)
      : kernels_(kernels), M_(M), N_(N), K_(K), a_(a), b_(b), c_(c), addend_(addend) {
    const size_t stride = a.ld * dtype_size(a.dtype);
    direct_a_ = a.dtype == DType::kBf16 && !a.transposed && N <= kMostColumnsUnpacked &&
                K % kStepDepth == 0 && stride % kTileRowBytes == 0 && stride % kBadStride != 0 &&
                reinterpret_cast<uintptr_t>(a.data) % kTileRowBytes == 0;
  }

  void run() {
    // A bf16 C would round each partial sum, so there all of K is packed at once.
    const Cut depths(K_, c_.dtype == DType::kF32 ? kPackedDepth : K_, kBlockDepth);
    const Cut columns(N_, std::max(kStrip, kPackedBytes / (2 * depths.size(0))), kStrip);
    for (size_t j = 0; j < columns.count(); ++j) {
      for (size_t d = 0; d < depths.count(); ++d)
        run_part({columns.begin(j), columns.size(j), depths.begin(d), depths.size(d)});
    }
  }

 private:
  // What is packed together: C's columns [n0, n0 + n), products over [k0, k0 + k). Panels of B lie one behind the
  // other, each over all of k; likewise strips of A, where they are packed here.
  struct Part {
    Part(size_t n0_, size_t n_, size_t k0_, size_t k_)
        : n0(n0_), n(n_), k0(k0_), k(k_), depths(k, kPackedDepth, kStepDepth) {}
    size_t n0, n, k0, k;
    Cut depths;  // what a tile of C goes through one after the other
    const uint32_t* b = nullptr;
    const uint32_t* a = nullptr;  // null: each tile of C packs its own

    size_t units() const { return steps_of(k) * kStepUnits; }  // of a whole strip or panel
  };

  struct Tile {
    size_t row, rows, column, columns;  // column: from the part's first
  };

  void run_part(Part part) {
    const auto [rows, cols] = tiles_of_c(part);
    const size_t panels = ceil_div(part.n, kStrip), strips = ceil_div(M_, kStrip);
    const bool packs_a = !direct_a_ && cols.count() > 1 && cols.part < kColumnsToPackFor;
    uint32_t* b = ensure(scratch().b, panels * part.units());
    uint32_t* a = packs_a ? ensure(scratch().a, strips * part.units()) : nullptr;
    const size_t both = panels + (packs_a ? strips : 0);
    const Cut pieces(part.k, kBlockDepth, kStepDepth);
    parallel_for(both * pieces.count(), [&](size_t task) {
      const size_t index = task / pieces.count(), i = task % pieces.count();
      const size_t begin = pieces.begin(i), k = pieces.size(i), offset = steps_of(begin) * kStepUnits;
      if (index < panels)
        pack_panel(b + index * part.units() + offset, part, index, begin, k);
      else
        pack_strip(a + (index - panels) * part.units() + offset, part.k0 + begin, k, (index - panels) * kStrip);
    });
    part.a = a;
    part.b = b;
    parallel_for(rows.count() * cols.count(), [&, &rows = rows, &cols = cols](size_t task) {
      const size_t r = task / cols.count(), s = task % cols.count();
      multiply_tile(part, {rows.begin(r), rows.size(r), cols.begin(s), cols.size(s)});
    });
  }

  // As large as the caches allow, then halved until the threads have enough of them: rows first, which does
  // not make anybody pack A again; below two strips, each panel of B would no longer be loaded from L1.
  std::pair<Cut, Cut> tiles_of_c(const Part& part) const {
    const size_t n = part.n;
    size_t rows = kMostRows, cols = part.depths.count() == 1 ? n : kMostColumnsKept;
    const size_t wanted = num_threads() > 1 ? kTilesPerThread * num_threads() : 1;
    const auto few = [&] { return ceil_div(M_, rows) * ceil_div(n, cols) < wanted; };
    for (const size_t least : {2 * kStrip, kStrip}) {
      while (few() && rows > least) rows = std::max(least, rows / 2);
      while (few() && cols > least) cols = std::max(least, cols / 2);
    }
    return {Cut(M_, rows, kStrip), Cut(n, cols, kStrip)};
  }

  void pack_panel(uint32_t* to, const Part& part, size_t panel, size_t begin, size_t k) const {
    const size_t k0 = part.k0 + begin, n0 = part.n0 + panel * kStrip;
    const size_t n = std::min(kStrip, part.n - panel * kStrip);
    if (b_.transposed)
      kernels_.packing.b_along(to, corner(b_, n0, k0), n, k);
    else
      kernels_.packing.b_across(to, corner(b_, k0, n0), n, k);
  }

  void pack_strip(uint32_t* to, size_t k0, size_t k, size_t row) const {
    const size_t rows = std::min(kStrip, M_ - row);
    if (a_.transposed)
      kernels_.packing.a_across(to, corner(a_, k0, row), rows, k);
    else
      kernels_.packing.a_along(to, corner(a_, row, k0), rows, k);
  }

  // Tiles that are loaded from A itself must be whole.
  bool loads_directly(size_t row) const {
    const size_t rows = std::min(kStrip, M_ - row);
    return direct_a_ && rows % kTileRows == 0;
  }

  // A tile of C at one of its depths.
  struct Work {
    const Part& part;
    const Tile& tile;
    size_t begin, k;  // from the part's first
    bool first, last;
    const uint32_t* packed_a;  // the tile's own
  };

  // Packs the strips of a tile that are neither packed by all nor loaded as they are.
  const uint32_t* pack_tile_a(const Part& part, const Tile& t, size_t begin, size_t k) const {
    if (part.a != nullptr) return nullptr;
    const size_t strips = ceil_div(t.rows, kStrip), units = steps_of(k) * kStepUnits;
    uint32_t* to = ensure(scratch().tile_a, strips * units);
    for (size_t s = 0; s < strips; ++s) {
      const size_t row = t.row + s * kStrip;
      if (!loads_directly(row)) pack_strip(to + s * units, part.k0 + begin, k, row);
    }
    return to;
  }

  void set_strip_of_a(TileBlock& block, const Work& w, size_t s, size_t position) const {
    const size_t row = w.tile.row + s * kStrip;
    if (loads_directly(row)) {
      const Source from = corner(a_, row, w.part.k0 + w.begin + position);
      block.a = from.data;
      block.a_stride = from.ld * dtype_size(from.dtype);
      block.a_step = kTileRowBytes;
      return;
    }
    const uint32_t* strip = w.packed_a != nullptr
                                ? w.packed_a + s * steps_of(w.k) * kStepUnits
                                : w.part.a + row / kStrip * w.part.units() + steps_of(w.begin) * kStepUnits;
    block.a = reinterpret_cast<const std::byte*>(strip + steps_of(position) * kStepUnits);
    block.a_stride = kTileRowBytes;
    block.a_step = kStepBytes;
  }

  // A tile of C: panel by panel of B, a group of strips of A at a time, through all blocks of K.
  void multiply_tile(const Part& part, const Tile& t) const {
    const ConfiguredTiles configured(kernels_.configure, kernels_.release);
    const size_t strips = ceil_div(t.rows, kStrip), panels = ceil_div(t.columns, kStrip);
    const size_t depths = part.depths.count();
    // One more place than a group has strips: the last sums of the group before wait there for being stored.
    float* sums = ensure(scratch().sums, (depths == 1 ? kGroup + 1 : strips * panels) * kBlockSums);
    PendingStore pending{};
    size_t place = 0;
    for (size_t d = 0; d < depths; ++d) {
      const size_t begin = part.depths.begin(d), k = part.depths.size(d);
      const Work work{part, t, begin, k, d == 0, d + 1 == depths, pack_tile_a(part, t, begin, k)};
      for (size_t p = 0; p < panels; ++p) {
        for (size_t s = 0; s < strips; s += kGroup) {
          const size_t group = std::min(kGroup, strips - s);
          const auto sums_of = [&](size_t i) {
            return sums + (depths == 1 ? (place + i) % (kGroup + 1) : p * strips + s + i) * kBlockSums;
          };
          multiply_group(work, p, s, group, sums_of, pending);
          place += group;
        }
      }
    }
    if (pending.rows > 0) kernels_.packing.store(pending.sums, pending.rows, pending.cols, pending.to);
  }

  template <class SumsOf>
  [[gnu::always_inline]] void multiply_group(const Work& w, size_t p, size_t first, size_t group,
                                             const SumsOf& sums_of, PendingStore& pending) const {
    const Tile& t = w.tile;
    const size_t strips = ceil_div(t.rows, kStrip), panels = ceil_div(t.columns, kStrip);
    const Cut blocks(w.k, kBlockDepth, kStepDepth);
    const uint32_t* panel =
        w.part.b + (t.column / kStrip + p) * w.part.units() + steps_of(w.begin) * kStepUnits;
    TileBlock block{};
    block.cols = std::min(kStrip, t.columns - p * kStrip);
    for (size_t i = 0; i < blocks.count(); ++i) {
      block.steps = steps_of(blocks.size(i));
      block.b = panel + steps_of(blocks.begin(i)) * kStepUnits;
      block.adds = i > 0 || !w.first;
      for (size_t j = 0; j < group; ++j) {
        const size_t s = first + j;
        set_strip_of_a(block, w, s, blocks.begin(i));
        block.rows = std::min(kStrip, t.rows - s * kStrip);
        block.sums = sums_of(j);
        // A itself comes from far away when the first panel meets it.
        block.next_a = p == 0 && s + 1 < strips && loads_directly(t.row + (s + 1) * kStrip) &&
                               loads_directly(t.row + s * kStrip)
                           ? block.a + kStrip * block.a_stride
                           : nullptr;
        // The strips of a tile share the next panel's lines among them.
        block.next_lines = p + 1 < panels ? ceil_div(kStepBytes / 64, strips) : 0;
        block.next_b = reinterpret_cast<const std::byte*>(block.b + w.part.units()) +
                       s * block.steps * block.next_lines * 64;
        const bool done = w.last && i + 1 == blocks.count();
        block.fetches_out = done;
        if (done) block.out = out_of(w, s, p);
        block.pending = pending;
        kernels_.multiply(block, kernels_.packing.store);
        pending = {};
        if (done) pending = {block.sums, block.rows, block.cols, block.out};
      }
    }
  }

  // Where a block of sums goes, and what is added to it.
  Store out_of(const Work& w, size_t s, size_t p) const {
    Store out =
        whole(c_, addend_).at(w.tile.row + s * kStrip, w.part.n0 + w.tile.column + p * kStrip);
    if (w.part.k0 > 0) {  // partial sums are in C, and the addend with them
      out.acc = static_cast<const float*>(out.out);
      out.acc_ld = out.ld;
      out.addend = nullptr;
    }
    return out;
  }

  const TileKernels& kernels_;
  const size_t M_, N_, K_;
  const MatrixIn a_, b_;
  const MatrixOut c_;
  const Addend addend_;
  bool direct_a_;  // whether A's rows are loaded as they are
};

}  // namespace

void multiply_on_tiles(const TileKernels& kernels, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b,
                       MatrixOut c, Addend addend) {
  TileProduct(kernels, M, N, K, a, b, c, addend).run();
}

}  // namespace fathom::gemm_detail
