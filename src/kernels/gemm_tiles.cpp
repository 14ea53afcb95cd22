// The product on AMX tiles, by cache blocks. Figures of a Xeon with AMX at 3.0 GHz, measured: 3.1 TFLOP/s a
// core at most (a product of tiles every 16 cycles); 2.6 where tiles are loaded from L1 (48 KiB) and L2
// (2 MiB), 0.8 from beyond; rows of A that are a multiple of 4096 bytes apart are the slowest to load.
//
// A step of the inner loop is four products, 64 cycles, and four loads of 1 KiB. Hence:
// - A and B are packed into whole tiles, in the order in which they are loaded.
// - K is cut into blocks of 256, of which a panel of B takes 16 KiB: it stays in L1 while strip after strip
// of
//   A, 16 KiB each, comes from L2 at 32 bytes a cycle, and there is room for the sums of two blocks (4 KiB
//   each). With 512 the panel and a strip, 64 KiB, would push each other out.
// - Sums stay in L2 between blocks of K, in tiles: they are loaded into the registers and stored without
//   passing the vector unit. Only after the last block do they go to C, while the next products run.
//
// Each sum is formed in the order of K, whatever the cutting of rows and columns: so that, unlike elsewhere,
// that may follow the number of threads, and the bits are still the same.

#include "kernels/gemm_tiles.h"

#include "core/threads.h"
#include "kernels/gemm_blocks.h"

namespace fathom::gemm_detail {
namespace {

constexpr size_t kBlockDepth = 256;
// Depth that is packed before the product runs where partial sums can live in a float C: 2048 rows of x, as
// a weight gradient reads them, are packed at once.
constexpr size_t kPackedDepth = 2048;
// Bytes of B that are packed at once. Each thread reads a panel of them from L3 at 4 bytes a cycle or less;
// A is packed anew for each such part, so that it must not be narrow.
constexpr size_t kPackedBytes = size_t{16} << 20;
// The largest tile of C: its sums take 768 KiB of L2, and a block of its A 128 KiB; the rest is for what
// passes through: panels of B, C.
constexpr size_t kMostRows = 256, kMostColumns = 768;
// Tiles of C for each thread, so that the last to finish is not waited for long.
constexpr size_t kTilesPerThread = 2;
// A tile of C with fewer columns does not pack A by itself, if others need the same rows: packing a row of 64
// bytes takes 2 (rows of A) to 5 cycles (columns), its products columns / 16.
constexpr size_t kColumnsToPackFor = 512;
// Up to so many columns A is not packed at all where its rows can be loaded as they are. Not where they are
// a multiple of this many bytes apart: 32 of them would share a set or two of L1's 64.
constexpr size_t kMostColumnsUnpacked = 512, kBadStride = 2048;

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

// The tile registers, configured.
class ConfiguredTiles {
 public:
  explicit ConfiguredTiles(const TileKernels& kernels) : kernels_(kernels) {
    kernels_.configure(kWholeTiles);
  }
  ~ConfiguredTiles() { kernels_.release(); }
  ConfiguredTiles(const ConfiguredTiles&) = delete;
  ConfiguredTiles& operator=(const ConfiguredTiles&) = delete;

 private:
  const TileKernels& kernels_;
};

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
  // What is packed together: C's columns [n0, n0 + n), products over [k0, k0 + k), in blocks of K. Panel p of
  // block i lies behind all of block i - 1; likewise strips of A, where they are packed here.
  struct Part {
    Part(size_t n0_, size_t n_, size_t k0_, size_t k_)
        : n0(n0_), n(n_), k0(k0_), k(k_), blocks(k, kBlockDepth, kStepDepth) {}
    size_t n0, n, k0, k;
    Cut blocks;
    const uint32_t* b = nullptr;
    const uint32_t* a = nullptr;  // null: each tile of C packs its own

    size_t steps(size_t i) const { return steps_of(blocks.size(i)); }
    // Where strip or panel `index` of `count` begins in block i, in units.
    size_t offset(size_t i, size_t index, size_t count) const {
      return (steps_of(blocks.begin(i)) * count + steps(i) * index) * kStepUnits;
    }
  };

  struct Tile {
    size_t row, rows, column, columns;  // column: from the part's first
  };

  void run_part(Part part) {
    const auto [rows, cols] = tiles_of_c(part.n);
    const size_t panels = ceil_div(part.n, kStrip), strips = ceil_div(M_, kStrip);
    const bool packs_a = !direct_a_ && cols.count() > 1 && cols.part < kColumnsToPackFor;
    uint32_t* b = ensure(scratch().b, panels * steps_of(part.k) * kStepUnits);
    uint32_t* a = packs_a ? ensure(scratch().a, strips * steps_of(part.k) * kStepUnits) : nullptr;
    const size_t both = panels + (packs_a ? strips : 0);
    parallel_for(part.blocks.count() * both, [&](size_t task) {
      const size_t i = task / both, index = task % both;
      if (index < panels)
        pack_panel(b + part.offset(i, index, panels), part, i, index);
      else
        pack_strip(a + part.offset(i, index - panels, strips), part, i, (index - panels) * kStrip);
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
  std::pair<Cut, Cut> tiles_of_c(size_t n) const {
    size_t rows = kMostRows, cols = kMostColumns;
    const size_t wanted = num_threads() > 1 ? kTilesPerThread * num_threads() : 1;
    const auto few = [&] { return ceil_div(M_, rows) * ceil_div(n, cols) < wanted; };
    for (const size_t least : {2 * kStrip, kStrip}) {
      while (few() && rows > least) rows = std::max(least, rows / 2);
      while (few() && cols > least) cols = std::max(least, cols / 2);
    }
    return {Cut(M_, rows, kStrip), Cut(n, cols, kStrip)};
  }

  void pack_panel(uint32_t* to, const Part& part, size_t i, size_t panel) const {
    const size_t k0 = part.k0 + part.blocks.begin(i), k = part.blocks.size(i), n0 = part.n0 + panel * kStrip;
    const size_t n = std::min(kStrip, part.n - panel * kStrip);
    if (b_.transposed)
      kernels_.packing.b_along(to, corner(b_, n0, k0), n, k);
    else
      kernels_.packing.b_across(to, corner(b_, k0, n0), n, k);
  }

  void pack_strip(uint32_t* to, const Part& part, size_t i, size_t row) const {
    const size_t k0 = part.k0 + part.blocks.begin(i), k = part.blocks.size(i);
    const size_t rows = std::min(kStrip, M_ - row);
    if (a_.transposed)
      kernels_.packing.a_across(to, corner(a_, k0, row), rows, k);
    else
      kernels_.packing.a_along(to, corner(a_, row, k0), rows, k);
  }

  // Where the tiles of a strip are.
  struct StripOfA {
    const std::byte* data;
    size_t stride, step;
  };

  // Tiles that are loaded from A itself must be whole.
  bool loads_directly(size_t row) const {
    const size_t rows = std::min(kStrip, M_ - row);
    return direct_a_ && rows % kTileRows == 0;
  }

  StripOfA strip_of_a(const Part& part, size_t i, const Tile& t, size_t s) const {
    const size_t row = t.row + s * kStrip;
    if (loads_directly(row)) {
      const Source from = corner(a_, row, part.k0 + part.blocks.begin(i));
      return {from.data, from.ld * dtype_size(from.dtype), kTileRowBytes};
    }
    const uint32_t* packed = part.a == nullptr ? scratch().tile_a.data() + s * part.steps(i) * kStepUnits
                                               : part.a + part.offset(i, row / kStrip, ceil_div(M_, kStrip));
    return {reinterpret_cast<const std::byte*>(packed), kTileRowBytes, kStepBytes};
  }

  void pack_tile_a(const Part& part, size_t i, const Tile& t) const {
    const size_t strips = ceil_div(t.rows, kStrip);
    uint32_t* to = ensure(scratch().tile_a, strips * steps_of(kBlockDepth) * kStepUnits);
    for (size_t s = 0; s < strips; ++s, to += part.steps(i) * kStepUnits) {
      const size_t row = t.row + s * kStrip;
      if (!loads_directly(row)) pack_strip(to, part, i, row);
    }
  }

  // A tile of C: over each block of K, each panel of B times all strips of A.
  void multiply_tile(const Part& part, const Tile& t) const {
    const ConfiguredTiles configured(kernels_);
    const size_t strips = ceil_div(t.rows, kStrip), panels = ceil_div(t.columns, kStrip);
    const size_t blocks = part.blocks.count();
    float* sums = ensure(scratch().sums, (blocks == 1 ? 2 : strips * panels) * kBlockSums);
    PendingStore pending{};
    for (size_t i = 0; i < blocks; ++i) {
      if (part.a == nullptr) pack_tile_a(part, i, t);
      for (size_t n = 0; n < strips * panels; ++n) {
        const size_t p = n / strips, s = n % strips;
        TileBlock block = block_of(part, i, t, p, s);
        // With one block of K no sums are kept, and two places, in turn, stay in L1.
        block.sums = sums + (blocks == 1 ? n % 2 : n) * kBlockSums;
        if (block.adds && n + 1 < strips * panels) block.next_sums = block.sums + kBlockSums;
        block.pending = pending;
        kernels_.multiply(block, kernels_.packing.store);
        pending = {};
        if (block.fetches_out) pending = {block.sums, block.rows, block.cols, block.out};
      }
    }
    kernels_.packing.store(pending.sums, kStrip, pending.rows, pending.cols, pending.to);
  }

  // Block i of strip s times panel p, but for its sums.
  TileBlock block_of(const Part& part, size_t i, const Tile& t, size_t p, size_t s) const {
    const size_t strips = ceil_div(t.rows, kStrip), panels = ceil_div(part.n, kStrip);
    TileBlock block{};
    block.rows = std::min(kStrip, t.rows - s * kStrip);
    block.cols = std::min(kStrip, t.columns - p * kStrip);
    block.steps = part.steps(i);
    const StripOfA a = strip_of_a(part, i, t, s), next = strip_of_a(part, i, t, (s + 1) % strips);
    block.a = a.data;
    block.a_stride = a.stride;
    block.a_step = a.step;
    block.b = part.b + part.offset(i, t.column / kStrip + p, panels);
    block.adds = i > 0;
    if (strips > 1 && next.stride == a.stride) block.next_a = next.data;
    prefetch_share(block.b + block.steps * kStepUnits, block.steps, s, strips);
    block.fetches_out = i + 1 == part.blocks.count();
    block.out = whole(c_, addend_).at(t.row + s * kStrip, part.n0 + t.column + p * kStrip);
    if (part.k0 > 0) {  // partial sums are in C, and the addend with them
      block.out.acc = static_cast<const float*>(block.out.out);
      block.out.acc_ld = block.out.ld;
      block.out.addend = nullptr;
    }
    return block;
  }

  // Brings the next panel of B from L3 to L2, one share of it with each strip.
  [[gnu::always_inline]] static void prefetch_share(const uint32_t* panel, size_t steps, size_t share,
                                                    size_t shares) {
    const size_t lines = steps * kStepBytes / 64, units_per_line = 16;
    for (size_t l = share * lines / shares; l < (share + 1) * lines / shares; ++l)
      __builtin_prefetch(panel + l * units_per_line, 0, 2);
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
