// The product by cache blocks, after Goto & van de Geijn 2008 (Anatomy of High-Performance Matrix
// Multiplication), with three departures: B is packed once by all threads before any of them multiplies; so
// is an A whose lines run across K (of a weight gradient), in slices of whole lines; and an A whose rows are
// already what the kernel reads is not packed at all. What is packed must be cheap beside the product: at
// hidden size 192 each element of A takes part in only 192 multiplications.

#include <algorithm>

#include "core/threads.h"
#include "kernels/gemm_blocks.h"

namespace fathom::gemm_detail {
namespace {

// Depth of a block of products, in units. A panel of B (48 x 512 x 4 B = 96 KiB) comes from L2 at 16 bytes a
// cycle, which the kernel hides; with 256, where it would nearly fit L1, C is read and written twice as
// often, and the products of the 130M model are 5% slower.
constexpr size_t kBlockUnits = 512;
// Depth, in units, that is packed before the product runs where partial sums can live in a float C: what is
// packed for a hidden size up to 1024 stays in 4 MiB, so that it is still in L3 when it is used.
constexpr size_t kPackedUnits = 1024;
// Units of B that are packed at once, and of an A that is packed for all: 8 MiB, a share of L3 that leaves
// room for A and C.
constexpr size_t kPackedSize = size_t{2} << 20;
// Lines across K that a thread packs at a time.
constexpr size_t kSliceLines = 64;
// Rows of a tile of C: its block of A (96 x 512 x 4 B = 192 KiB) stays in L2 beside a panel of B.
constexpr size_t kTileRows = 96;
// Columns of a tile of C, so that its partial sums (96 x 1024 x 4 B = 384 KiB) stay in L2 too.
constexpr size_t kTileColumns = 1024;
// Tiles wanted for the threads to share evenly. Where tiles lie changes no bits: each element of C is summed
// over blocks of K that K alone fixes.
size_t wanted_tiles() { return std::max<size_t>(16, 4 * num_threads()); }
// Columns of a tile, at least, whose A is packed once for each tile: beside fewer the packing shows.
constexpr size_t kColumnsOfPackedA = 512;

// Scratch of one thread.
struct Scratch {
  Buffer<uint32_t> b, shared_a, a, line;
  Buffer<float> sums;
};
Scratch& scratch() {
  static thread_local Scratch s;
  return s;
}

// How deep and how many columns of B are packed at once. A bf16 C would round each partial sum, so there it
// is all of K.
Cut depths_of(const Kernels& kernels, size_t K, DType c) {
  const size_t packed_units = c == DType::kF32 ? kPackedUnits : ceil_div(K, kernels.k_per_unit);
  return {K, packed_units * kernels.k_per_unit, kBlockUnits * kernels.k_per_unit};
}
Cut columns_of(const Kernels& kernels, size_t N, size_t depth) {
  return {N, std::max(kernels.nr, kPackedSize / ceil_div(depth, kernels.k_per_unit)), kernels.nr};
}
Cut blocks_of(const Kernels& kernels, size_t depth) {
  return {depth, kBlockUnits * kernels.k_per_unit, 2 * kernels.k_per_unit};
}
// How many rows of an A that is packed for all.
Cut shared_rows_of(const Kernels& kernels, size_t M, size_t depth) {
  return {M, std::max(kernels.mr, kPackedSize / ceil_div(depth, kernels.k_per_unit)), kernels.mr};
}

// Keeps the rows of a packed block, or panels that are written side by side, from sharing their L1 set, as
// rows of 4 KiB would.
constexpr size_t kLinePad = 16;

// Where panels of `width` columns of an operand lie that is packed for all threads, blocks of K one after the
// other.
class PackedPanels {
 public:
  PackedPanels(const Kernels& kernels, const Cut& blocks, size_t columns, size_t width)
      : k_per_unit_(kernels.k_per_unit), blocks_(blocks), panels_(ceil_div(columns, width)), width_(width) {}

  size_t panels() const { return panels_; }
  size_t width() const { return width_; }
  /// From one panel of block i to the next.
  size_t stride(size_t i) const { return ceil_div(blocks_.size(i), k_per_unit_) * width_ + kLinePad; }
  size_t offset(size_t i, size_t panel) const {
    return panels_ * (blocks_.begin(i) / k_per_unit_ * width_ + i * kLinePad) + panel * stride(i);
  }
  size_t size() const { return offset(blocks_.count(), 0); }

 private:
  const size_t k_per_unit_;
  const Cut blocks_;
  const size_t panels_, width_;
};

// Units of a block of A as packed, and of the lines of a panel of B before they are transposed.
constexpr size_t packed_a_units(const Kernels& kernels) {
  return (kTileRows + kernels.mr) * (kBlockUnits + kLinePad);
}
constexpr size_t line_units(const Kernels& kernels) { return kernels.nr * kBlockUnits; }

class Product {
 public:
  Product(const Kernels& kernels, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c,
          Addend addend, bool round)
      : kernels_(kernels),
        M_(M),
        N_(N),
        K_(K),
        a_(a),
        b_(b),
        c_(c),
        addend_(addend),
        round_(round),
        direct_a_(!a.transposed && !round && a.dtype == kernels.direct && K % kernels.k_per_unit == 0) {}

  void run() {
    const Cut depths = depths_of(kernels_, K_, c_.dtype), columns = columns_of(kernels_, N_, depths.size(0));
    const Cut rows = a_.transposed ? shared_rows_of(kernels_, M_, depths.size(0)) : Cut(M_, M_, kernels_.mr);
    for (size_t j = 0; j < columns.count(); ++j) {
      for (size_t d = 0; d < depths.count(); ++d) {
        for (size_t i = 0; i < rows.count(); ++i) {
          const Part part = part_of({rows.begin(i), rows.size(i), columns.begin(j), columns.size(j)},
                                    depths.begin(d), depths.size(d));
          pack(part, i == 0);  // B serves all parts below each other
          multiply(part);
        }
      }
    }
  }

 private:
  size_t units(size_t k) const { return ceil_div(k, kernels_.k_per_unit); }

  struct Tile {
    size_t row, rows, column, columns;
  };

  // A part of C, its products over blocks of K from k0 on, and what is packed for them.
  struct Part {
    Tile tile;
    size_t k0;
    Cut blocks;
    PackedPanels of_a, of_b;
    uint32_t *a, *b;  ///< a: null where A is not packed for all
  };

  Part part_of(const Tile& tile, size_t k0, size_t k) const {
    const Cut blocks = blocks_of(kernels_, k);
    const PackedPanels of_a(kernels_, blocks, a_.transposed ? tile.rows : 0, kernels_.mr),
        of_b(kernels_, blocks, tile.columns, kernels_.nr);
    return {tile,
            k0,
            blocks,
            of_a,
            of_b,
            a_.transposed ? ensure(scratch().shared_a, of_a.size()) : nullptr,
            ensure(scratch().b, of_b.size())};
  }

  // Packs A where its lines run across K, and B where `packs_b`: lines across K in slices, others by panels.
  void pack(const Part& part, bool packs_b) const {
    const Tile& t = part.tile;
    const size_t slices = ceil_div(part.blocks.size(0), kSliceLines) * part.blocks.count();
    const size_t panels = part.blocks.count() * part.of_b.panels();
    const size_t tasks_of_a = a_.transposed ? slices : 0, tasks_of_b = b_.transposed ? panels : slices;
    parallel_for(tasks_of_a + (packs_b ? tasks_of_b : 0), [&](size_t task) {
      if (task < tasks_of_a)
        return pack_slice(part.a, part.of_a, part, corner(a_, part.k0, t.row), t.rows, task);
      task -= tasks_of_a;
      if (b_.transposed) return pack_panel_of_b(part, task / part.of_b.panels(), task % part.of_b.panels());
      pack_slice(part.b, part.of_b, part, corner(b_, part.k0, t.column), t.columns, task);
    });
  }

  // A slice of the lines of an operand, `from` the first of them.
  void pack_slice(uint32_t* to, const PackedPanels& panels, const Part& part, const Source& from,
                  size_t columns, size_t slice) const {
    const size_t i = slice % part.blocks.count(), begin = slice / part.blocks.count() * kSliceLines;
    if (begin >= part.blocks.size(i)) return;  // the last block may be shorter
    const Source lines{from.at(part.blocks.begin(i) + begin, 0), from.dtype, from.ld};
    kernels_.pack_across(to + panels.offset(i, 0) + begin / kernels_.k_per_unit * panels.width(),
                         panels.width(), panels.stride(i), lines,
                         std::min(kSliceLines, part.blocks.size(i) - begin), columns, round_);
  }

  void multiply(const Part& part) const {
    const Tile& whole = part.tile;
    const Cut rows(whole.rows, tile_rows(whole.rows), kernels_.mr),
        cols = tile_columns(whole.columns, rows.count());
    parallel_for(rows.count() * cols.count(), [&](size_t task) {
      const size_t r = task / cols.count(), s = task % cols.count();
      const Tile tile{whole.row + rows.begin(r), rows.size(r), whole.column + cols.begin(s), cols.size(s)};
      for (size_t i = 0; i < part.blocks.count(); ++i) {
        const size_t k0 = part.k0 + part.blocks.begin(i), k = part.blocks.size(i);
        const PanelsOfA a =
            part.a != nullptr ? shared_panels_of_a(part, i, rows.begin(r)) : panels_of_a(tile, k0, k);
        multiply_tile(tile, units(k), a, part.b + part.of_b.offset(i, cols.begin(s) / kernels_.nr),
                      part.of_b.stride(i), k0 == 0, k0 + k == K_);
      }
    });
  }

  // An A that each tile packs for itself is cut into many small tiles of rows, and no more than wide ones;
  // another is cut across its columns, so that each panel of B that is fetched serves many rows.
  bool packs_by_tile() const { return !direct_a_ && !a_.transposed; }
  size_t tile_rows(size_t rows) const {
    if (!packs_by_tile()) return kTileRows;
    return std::min(kTileRows, std::max(kernels_.mr, round_up(ceil_div(rows, wanted_tiles()), kernels_.mr)));
  }
  Cut tile_columns(size_t n, size_t row_tiles) const {
    size_t wanted = ceil_div(wanted_tiles(), row_tiles);
    if (packs_by_tile()) wanted = std::min(wanted, std::max<size_t>(2, n / kColumnsOfPackedA));
    return {n, std::min(ceil_div(n, wanted), kTileColumns), kernels_.nr};
  }

  // Of a B whose lines run along K.
  void pack_panel_of_b(const Part& part, size_t block, size_t panel) const {
    uint32_t* const to = part.b + part.of_b.offset(block, panel);
    const size_t k = part.blocks.size(block), column = panel * kernels_.nr;
    const size_t n = std::min(kernels_.nr, part.tile.columns - column);
    const Source from = corner(b_, part.tile.column + column, part.k0 + part.blocks.begin(block));
    if (b_.dtype == kernels_.direct && k % kernels_.k_per_unit == 0 && !round_) {
      transpose_units(to, kernels_.nr, from.data, b_.ld * dtype_size(b_.dtype), n, units(k));
    } else {
      uint32_t* lines = ensure(scratch().line, line_units(kernels_));
      kernels_.pack_lines(lines, units(k), from, n, k, round_);
      transpose_units(to, kernels_.nr, reinterpret_cast<const std::byte*>(lines), units(k) * 4, n, units(k));
    }
  }

  // Where the kernel finds a row and a unit of A.
  struct PanelsOfA {
    const std::byte* data;
    size_t panel_bytes, row_stride, unit_stride;
  };

  PanelsOfA shared_panels_of_a(const Part& part, size_t block, size_t row) const {
    const uint32_t* panel = part.a + part.of_a.offset(block, row / kernels_.mr);
    return {reinterpret_cast<const std::byte*>(panel), part.of_a.stride(block) * 4, 4, kernels_.mr * 4};
  }

  // Of an A whose lines run along K, packed for this tile alone where it must be.
  PanelsOfA panels_of_a(const Tile& t, size_t k0, size_t k) const {
    if (direct_a_) {
      const size_t row_bytes = a_.ld * dtype_size(a_.dtype);
      return {corner(a_, t.row, k0).data, kernels_.mr * row_bytes, row_bytes, 4};
    }
    uint32_t* to = ensure(scratch().a, packed_a_units(kernels_));
    const size_t ld = units(k) + kLinePad;
    kernels_.pack_lines(to, ld, corner(a_, t.row, k0), t.rows, k, round_);
    return {reinterpret_cast<const std::byte*>(to), kernels_.mr * ld * 4, ld * 4, 4};
  }

  // Adds products over `units` units to a tile of C. The first block brings the addend to a float C; a bf16 C
  // gets its sums only with the last.
  void multiply_tile(const Tile& t, size_t units, const PanelsOfA& a, const uint32_t* b, size_t panel_b,
                     bool first, bool last) const {
    const Store tile = store_of(t, first, last);
    alignas(64) float products[kMaxTile];
    for (size_t j = 0; j < t.columns; j += kernels_.nr, b += panel_b) {
      const size_t cols = std::min(kernels_.nr, t.columns - j);
      for (size_t i = 0; i < t.rows; i += kernels_.mr) {
        const size_t rows = std::min(kernels_.mr, t.rows - i);
        const Store here = tile.at(i, j);
        prefetch(here, rows, cols);
        kernels_.multiply(rows, units, a.data + i / kernels_.mr * a.panel_bytes, a.row_stride, a.unit_stride,
                          b, products);
        kernels_.store(products, kernels_.nr, rows, cols, here);
      }
    }
  }

  Store store_of(const Tile& t, bool first, bool last) const {
    Store s = whole(c_, addend_).at(t.row, t.column);
    if (c_.dtype == DType::kF32) {
      if (first) return s;
      return {s.out, DType::kF32, s.ld, static_cast<const float*>(s.out), s.ld, nullptr, 0, 0.0f};
    }
    float* sums = first && last ? nullptr : ensure(scratch().sums, t.rows * t.columns);
    s.acc = first ? nullptr : sums;
    s.acc_ld = t.columns;
    if (last) return s;
    return {sums, DType::kF32, t.columns, s.acc, t.columns, nullptr, 0, 0.0f};
  }

  const Kernels& kernels_;
  const size_t M_, N_, K_;
  const MatrixIn a_, b_;
  const MatrixOut c_;
  const Addend addend_;
  const bool round_;
  const bool direct_a_;
};

}  // namespace

void multiply_blocked(const Kernels& kernels, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b,
                      MatrixOut c, Addend addend, bool round) {
  Product(kernels, M, N, K, a, b, c, addend, round).run();
}

GemmScratch blocked_scratch(const Kernels& kernels, size_t M, size_t N, size_t K, DType c,
                            bool a_transposed) {
  const Cut depths = depths_of(kernels, K, c), columns = columns_of(kernels, N, depths.size(0)),
            shared_rows = shared_rows_of(kernels, M, depths.size(0)),
            blocks = blocks_of(kernels, depths.size(0));
  const bool keeps_sums = c == DType::kBf16 && ceil_div(K, kernels.k_per_unit) > kBlockUnits;
  const size_t rows = std::min(round_up(M, kernels.mr), kTileRows),
               cols = round_up(std::min(columns.size(0), kTileColumns), kernels.nr);
  const size_t b = PackedPanels(kernels, blocks, columns.size(0), kernels.nr).size(),
               a = a_transposed ? PackedPanels(kernels, blocks, shared_rows.size(0), kernels.mr).size() : 0;
  return {.shared = b * sizeof(uint32_t),
          .shared_a = a * sizeof(uint32_t),
          .packed = ((a_transposed ? 0 : packed_a_units(kernels)) + line_units(kernels)) * sizeof(uint32_t),
          .sums = keeps_sums ? rows * cols * sizeof(float) : 0};
}

}  // namespace fathom::gemm_detail
