// The product by cache blocks, after Goto & van de Geijn 2008 (Anatomy of High-Performance Matrix
// Multiplication), with two departures: B is packed once by all threads before any of them multiplies, and an
// A whose rows are already what the kernel reads is not packed at all. What is packed must be cheap beside
// the product: at hidden size 192 each element of A takes part in only 192 multiplications.

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
// Units of B that are packed at once: 8 MiB, a share of L3 that leaves room for A and C.
constexpr size_t kPackedSize = size_t{2} << 20;
// Rows of a tile of C: its block of A (96 x 512 x 4 B = 192 KiB) stays in L2 beside a panel of B.
constexpr size_t kTileRows = 96;
// Columns of a tile of C, so that its partial sums (96 x 1024 x 4 B = 384 KiB) stay in L2 too.
constexpr size_t kTileColumns = 1024;
// Tiles wanted for the threads to share evenly; a constant, so that tiles do not depend on the threads.
constexpr size_t kWantedTiles = 16;

// Scratch of one thread.
struct Scratch {
  Buffer<uint32_t> b, a, line;
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

// Keeps the rows of a packed block from sharing their L1 set, as rows of 4 KiB would.
constexpr size_t kLinePad = 16;
// Units of a block of A as packed, and of the lines of a panel of B before they are transposed.
constexpr size_t packed_a_units(const Kernels& kernels) {
  return (kTileRows + kernels.mr) * (kBlockUnits + kLinePad) + kMaxLanes;
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
    for (size_t j = 0; j < columns.count(); ++j) {
      for (size_t d = 0; d < depths.count(); ++d) {
        run_block(columns.begin(j), columns.size(j), depths.begin(d), depths.size(d));
      }
    }
  }

 private:
  size_t units(size_t k) const { return ceil_div(k, kernels_.k_per_unit); }

  // C's columns [n0, n0 + n), products over [k0, k0 + k).
  void run_block(size_t n0, size_t n, size_t k0, size_t k) {
    const Cut blocks(k, kBlockUnits * kernels_.k_per_unit, 2 * kernels_.k_per_unit);
    const size_t panels = ceil_div(n, kernels_.nr);
    uint32_t* packed_b = ensure(scratch().b, panels * kernels_.nr * units(k));
    // Panel p of block i lies at block i's start + p * NR * units of the block.
    const auto panel_b = [&](size_t i, size_t p) {
      return packed_b + (units(blocks.begin(i)) * panels + units(blocks.size(i)) * p) * kernels_.nr;
    };
    parallel_for(blocks.count() * panels, [&](size_t task) {
      const size_t i = task / panels, p = task % panels, column = p * kernels_.nr;
      pack_b(panel_b(i, p), k0 + blocks.begin(i), blocks.size(i), n0 + column,
             std::min(kernels_.nr, n - column));
    });
    const Cut rows(M_, tile_rows(), kernels_.mr), cols = tile_columns(n, rows.count());
    parallel_for(rows.count() * cols.count(), [&](size_t task) {
      const size_t r = task / cols.count(), s = task % cols.count();
      const Tile tile{rows.begin(r), rows.size(r), n0 + cols.begin(s), cols.size(s)};
      for (size_t i = 0; i < blocks.count(); ++i) {
        const bool first = k0 + i == 0, last = k0 + blocks.begin(i) + blocks.size(i) == K_;
        multiply_tile(tile, k0 + blocks.begin(i), blocks.size(i), panel_b(i, cols.begin(s) / kernels_.nr),
                      first, last);
      }
    });
  }

  // An A that must be packed is cut into many small tiles of rows, since each tile packs its own; another is
  // cut across its columns, so that each panel of B that is fetched serves many rows.
  size_t tile_rows() const {
    if (direct_a_) return kTileRows;
    return std::min(kTileRows, std::max(kernels_.mr, round_up(ceil_div(M_, kWantedTiles), kernels_.mr)));
  }
  Cut tile_columns(size_t n, size_t row_tiles) const {
    const size_t wanted = std::min(ceil_div(kWantedTiles, row_tiles), direct_a_ ? kWantedTiles : 2);
    return {n, std::min(ceil_div(n, wanted), kTileColumns), kernels_.nr};
  }

  struct Tile {
    size_t row, rows, column, columns;
  };

  void pack_b(uint32_t* to, size_t k0, size_t k, size_t n0, size_t n) const {
    if (!b_.transposed) {
      kernels_.pack_across(to, kernels_.nr, corner(b_, k0, n0), k, n, round_);
      return;
    }
    const Source from = corner(b_, n0, k0);
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

  PanelsOfA panels_of_a(const Tile& t, size_t k0, size_t k) const {
    if (direct_a_) {
      const size_t row_bytes = a_.ld * dtype_size(a_.dtype);
      return {corner(a_, t.row, k0).data, kernels_.mr * row_bytes, row_bytes, 4};
    }
    uint32_t* to = ensure(scratch().a, packed_a_units(kernels_));
    if (a_.transposed) {
      kernels_.pack_across(to, kernels_.mr, corner(a_, k0, t.row), k, t.rows, round_);
      return {reinterpret_cast<const std::byte*>(to), units(k) * kernels_.mr * 4, 4, kernels_.mr * 4};
    }
    const size_t ld = units(k) + kLinePad;
    kernels_.pack_lines(to, ld, corner(a_, t.row, k0), t.rows, k, round_);
    return {reinterpret_cast<const std::byte*>(to), kernels_.mr * ld * 4, ld * 4, 4};
  }

  // Adds the products over [k0, k0 + k) to a tile of C. The first block brings the addend to a float C; a
  // bf16 C gets its sums only with the last.
  void multiply_tile(const Tile& t, size_t k0, size_t k, const uint32_t* panels_b, bool first,
                     bool last) const {
    const PanelsOfA a = panels_of_a(t, k0, k);
    const Store tile = store_of(t, first, last);
    alignas(64) float products[kMaxTile];
    for (size_t j = 0; j < t.columns; j += kernels_.nr) {
      const uint32_t* b = panels_b + j * units(k);
      const size_t cols = std::min(kernels_.nr, t.columns - j);
      for (size_t i = 0; i < t.rows; i += kernels_.mr) {
        const size_t rows = std::min(kernels_.mr, t.rows - i);
        const Store here = tile.at(i, j);
        prefetch(here, rows, cols);
        kernels_.multiply(rows, units(k), a.data + i / kernels_.mr * a.panel_bytes, a.row_stride,
                          a.unit_stride, b, products);
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

GemmScratch blocked_scratch(const Kernels& kernels, size_t M, size_t N, size_t K, DType c) {
  const Cut depths = depths_of(kernels, K, c), columns = columns_of(kernels, N, depths.size(0));
  const size_t width = round_up(columns.size(0), kernels.nr);
  const bool keeps_sums = c == DType::kBf16 && ceil_div(K, kernels.k_per_unit) > kBlockUnits;
  const size_t rows = std::min(round_up(M, kernels.mr), kTileRows),
               cols = round_up(std::min(width, kTileColumns), kernels.nr);
  return {.shared = width * ceil_div(depths.size(0), kernels.k_per_unit) * sizeof(uint32_t),
          .packed = (packed_a_units(kernels) + line_units(kernels)) * sizeof(uint32_t),
          .sums = keeps_sums ? rows * cols * sizeof(float) : 0};
}

}  // namespace fathom::gemm_detail
