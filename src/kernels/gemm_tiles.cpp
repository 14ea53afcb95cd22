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
// Each sum is formed in the order of K, whatever the cutting of rows and columns: so that, unlike elsewhere,
// that may follow the number of threads, and the bits are still the same.

#include "kernels/gemm_tiles.h"

#include "core/threads.h"
#include "kernels/gemm_blocks.h"

namespace fathom::gemm_detail {
namespace {

constexpr size_t kBlockDepth = 512;
// Strips that go through the blocks of K together, with sums in L1: what L1 holds of B is loaded from L2 once
// for these. (With two, 3% slower.)
constexpr size_t kGroup = 4;
// Depth that is packed before the product runs where partial sums can live in a float C: 2048 rows of x, as
// a weight gradient reads them, are packed at once. A product that is deeper and has a bf16 C keeps its sums
// in memory from one such depth to the next.
constexpr size_t kPackedDepth = 2048;
// Panels of B that are packed together: 512 bytes or more of a line that runs across K.
constexpr size_t kPanelsTogether = 8;
// Bytes of A that stay in L2 while a tile of C is made.
constexpr size_t kBytesInL2 = size_t{1} << 20;
// A larger C without an addend is written past the caches, none of which would keep it until it is read: an
// ordinary store to a line that is not near fetches it first, and a fetch from L3 or memory (150 to 250
// cycles, sixteen at a time) is what the tiles of A and B wait behind. A quarter less time for gate_up of
// llama-130m.
constexpr size_t kMostCached = size_t{1} << 20;
// Tiles of C for each thread, so that the last to finish is not waited for long, and their fewest columns,
// below which packing A would weigh more.
constexpr size_t kTilesPerThread = 2, kFewestColumns = 256;
// Up to so many columns A is not packed at all where its rows can be loaded as they are. Not where they are
// a multiple of this many bytes apart: 32 of them would share a set or two of L1's 64.
constexpr size_t kMostColumnsUnpacked = 256, kBadStride = 2048;

size_t steps_of(size_t k) { return ceil_div(k, kStepDepth); }

// What is packed of B at once. A bf16 C would round each partial sum, so there it is all of K. A is packed
// anew for each part of the columns, of which a B that is packed already needs no more than one.
Cut depths_of(size_t K, DType c) { return {K, c == DType::kF32 ? kPackedDepth : K, kBlockDepth}; }
Cut columns_of(size_t N, size_t depth, size_t packed_bytes) {
  return {N, std::max(kStrip, packed_bytes / (2 * depth)), kStrip};
}
// What a tile of C goes through of that, one after the other.
Cut tile_depths_of(size_t depth) { return {depth, kPackedDepth, kStepDepth}; }

// Tiles of C, (M, n) in all: as the cache allows, then halved until the threads have enough of them: rows
// first, which does not make anybody pack A again.
std::pair<Cut, Cut> tiles_of_c(size_t M, size_t n, const Cut& tile_depths) {
  size_t rows = std::max(kGroup * kStrip, kBytesInL2 / (2 * tile_depths.part)), cols = n;
  const size_t wanted = num_threads() > 1 ? kTilesPerThread * num_threads() : 1;
  const auto few = [&] { return ceil_div(M, rows) * ceil_div(n, cols) < wanted; };
  while (few() && rows > kGroup * kStrip) rows = std::max(kGroup * kStrip, rows / 2);
  while (few() && cols > kFewestColumns) cols = std::max(kFewestColumns, cols / 2);
  return {Cut(M, rows, kGroup * kStrip), Cut(n, cols, kStrip)};
}

// Blocks of sums of a tile of C that are kept at once: those of a group, or all where partial sums wait for
// the next depth.
size_t blocks_kept(size_t rows, size_t columns, const Cut& tile_depths) {
  return tile_depths.count() == 1 ? kGroup : ceil_div(rows, kStrip) * ceil_div(columns, kStrip);
}

// Scratch of one thread: all of B that is packed together; strips of A that are at work; sums.
struct Scratch {
  Buffer<uint32_t> b, a;
  Buffer<float> sums;
};
Scratch& scratch() {
  static thread_local Scratch s;
  return s;
}

// Lines that run across K, k of them from `from` on, are packed step by step for all strips or panels,
// `extent` positions in all: a line is then read on, not in pieces of 64 bytes. The next step's lines begin
// on other pages, where no prefetcher of the hardware looks for them.
template <class ToOf>
void pack_across(PackTiles pack, Source from, size_t extent, size_t k, const ToOf& to_of) {
  for (size_t at = 0; at < k; at += kStepDepth) {
    for (size_t i = 0; i * kStrip < extent; ++i) {
      const size_t width = std::min(kStrip, extent - i * kStrip);
      for (size_t l = at + kStepDepth; l < std::min(k, at + 2 * kStepDepth); ++l) {
        const std::byte* line = from.at(l, i * kStrip);
        __builtin_prefetch(line);
        if (from.dtype == DType::kF32) __builtin_prefetch(line + 64);
      }
      pack(to_of(i) + steps_of(at) * kStepUnits, {from.at(at, i * kStrip), from.dtype, from.ld}, width,
           std::min(kStepDepth, k - at));
    }
  }
}

// A part of B: columns [n0, n0 + n), positions [k0, k0 + k) along K.
struct PartOfB {
  size_t n0, n, k0, k;
};

// Packs a part of B by all threads: panels one behind the other, each over all of k.
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

class TileProduct {
 public:
  TileProduct(const TileKernels& kernels, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c,
              Addend addend)
      : kernels_(kernels), M_(M), N_(N), K_(K), a_(a), b_(b), c_(c), addend_(addend) {
    // Not where partial sums go to C and are read back.
    streams_ = M * N * dtype_size(c.dtype) > kMostCached && addend.data == nullptr &&
               depths_of(K, c.dtype).count() == 1;
    store_ = streams_ ? kernels.packing.stream : kernels.packing.store;
    const size_t stride = a.ld * dtype_size(a.dtype);
    direct_a_ = a.dtype == DType::kBf16 && !a.transposed && N <= kMostColumnsUnpacked &&
                K % kStepDepth == 0 && stride % kTileRowBytes == 0 && stride % kBadStride != 0 &&
                reinterpret_cast<uintptr_t>(a.data) % kTileRowBytes == 0;
  }

  void run() {
    const Cut depths = depths_of(K_, c_.dtype);
    const Cut columns =
        b_.packed != nullptr ? Cut(N_, N_, kStrip) : columns_of(N_, depths.size(0), kernels_.packed_bytes);
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
  };

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
    const auto [rows, cols] = tiles_of_c(M_, part.n, part.depths);
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
          block_steps(steps_of(Cut(k, kBlockDepth, kStepDepth).part)),
          lines_a_step(ceil_div(kStepBytes / 64, strips)),
          sums(sums_) {}

    const Part& part;
    const Tile& tile;
    size_t begin, k;  // from the part's first
    bool first, last;
    size_t strips, panels, steps, block_steps;
    size_t lines_a_step;  // of the next panel, to be asked for
    float* sums;

    // Where the sums of a block lie: those of a group for its time, or each in its own place.
    float* sums_of(size_t p, size_t s) const {
      return sums + (first && last ? s % kGroup : p * strips + s) * kBlockSums;
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
    float* sums = ensure(scratch().sums, blocks_kept(t.rows, t.columns, part.depths) * kBlockSums);
    TileBlock block{};
    block.out = out_of(part);
    for (size_t d = 0; d < depths; ++d) {
      const Work work(part, t, d, sums);
      pack_strips(work);
      for (size_t p = 0; p < work.panels; ++p) {
        for (size_t s = 0; s < work.strips; s += kGroup)
          multiply_group(block, work, p, s, std::min(kGroup, work.strips - s));
      }
    }
    if (streams_) kernels_.packing.fence();
  }

  // `block` is made once for a tile and changed field by field: a copy of what was just written in pieces
  // waits until all stores before it, those of tiles too, have left the core.
  void multiply_group(TileBlock& block, const Work& w, size_t p, size_t first, size_t group) const {
    const uint32_t* panel =
        w.part.b + (w.tile.column / kStrip + p) * w.part.panel_units + steps_of(w.begin) * kStepUnits;
    const bool reads_c = !streams_ || block.out.acc != nullptr;
    block.cols = std::min(kStrip, w.tile.columns - p * kStrip);
    for (size_t step = 0; step < w.steps; step += block.steps) {
      block.steps = std::min(w.block_steps, w.steps - step);
      block.b = panel + step * kStepUnits;
      block.adds = step > 0 || !w.first;
      block.done = w.last && step + block.steps == w.steps;
      for (size_t j = 0; j < group; ++j) {
        const size_t s = first + j;
        const StripOfA a = strip_of_a(w, s, step);
        block.a = a.data;
        block.a_stride = a.stride;
        block.a_step = a.step;
        block.rows = std::min(kStrip, w.tile.rows - s * kStrip);
        block.sums = w.sums_of(p, s);
        move_out(block.out, w, s, p);
        if (p + 1 < w.panels)
          ask_for_next_panel(block.next_b, w, block, s);
        else
          block.next_b.ask_for_nothing(block.sums);
        if (w.last && reads_c && step < kStrip / kRowsAhead)
          ask_for_rows(block.next_out, block.out, step);
        else
          block.next_out.ask_for_nothing(block.sums);
        kernels_.multiply(block, store_);
      }
    }
  }

  // The strips of a tile share in asking for the next panel's lines.
  static void ask_for_next_panel(Ahead& ahead, const Work& w, const TileBlock& block, size_t s) {
    const size_t lines = w.lines_a_step;
    ahead.from =
        reinterpret_cast<const std::byte*>(block.b + w.part.panel_units) + s * lines * block.steps * kLine;
    ahead.line = lines > 1 ? kLine : 0;
    ahead.other = lines > 2 ? 2 * kLine : 0;
    ahead.step = lines * kLine;
  }

  // A block's rows of C come from far away too: two of them, or their two lines each, in each step.
  static constexpr size_t kRowsAhead = 2, kLine = 64;
  static void ask_for_rows(Ahead& ahead, const Store& out, size_t step) {
    const size_t row = out.ld * dtype_size(out.dtype);
    ahead.from = static_cast<const std::byte*>(out.out) + step * kRowsAhead * row;
    ahead.line = row;
    ahead.other = out.dtype == DType::kF32 ? kLine : 0;
    ahead.step = kRowsAhead * row;
  }

  // What is the same for all blocks of a tile.
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
  void move_out(Store& out, const Work& w, size_t s, size_t p) const {
    const size_t row = w.tile.row + s * kStrip, column = w.part.n0 + w.tile.column + p * kStrip;
    const size_t size = dtype_size(c_.dtype);
    out.out = static_cast<std::byte*>(c_.data) + (row * c_.ld + column) * size;
    if (out.acc != nullptr) out.acc = static_cast<const float*>(out.out);
    if (out.addend != nullptr)
      out.addend = static_cast<const std::byte*>(addend_.data) + (row * addend_.ld + column) * size;
  }

  const TileKernels& kernels_;
  const size_t M_, N_, K_;
  const MatrixIn a_, b_;
  const MatrixOut c_;
  const Addend addend_;
  bool direct_a_;  // whether A's rows are loaded as they are
  bool streams_;   // whether C is written past the caches
  StoreSums store_;
};

}  // namespace

void pack_for_tiles(const TilePacking& packing, uint32_t* to, size_t K, size_t N, MatrixIn b) {
  pack_part(packing, to, b, {0, N, 0, K});
}

void multiply_on_tiles(const TileKernels& kernels, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b,
                       MatrixOut c, Addend addend) {
  TileProduct(kernels, M, N, K, a, b, c, addend).run();
}

GemmScratch tiles_scratch(size_t M, size_t N, size_t K, DType c) {
  const Cut depths = depths_of(K, c), columns = columns_of(N, depths.size(0), kTilesMostShared);
  const Cut tile_depths = tile_depths_of(depths.size(0));
  GemmScratch scratch{.shared = ceil_div(columns.size(0), kStrip) * steps_of(depths.size(0)) * kStepBytes};
  for (const size_t n : {columns.size(0), N}) {  // N: where B is packed already
    const auto [rows, cols] = tiles_of_c(M, n, tile_depths);
    const size_t strips = ceil_div(rows.size(0), kStrip);
    scratch.include(
        {.packed = strips * steps_of(tile_depths.size(0)) * kStepBytes,
         .sums = blocks_kept(rows.size(0), cols.size(0), tile_depths) * kBlockSums * sizeof(float)});
  }
  return scratch;
}

}  // namespace fathom::gemm_detail
