#pragma once
// Inside of gemm: bf16 products on AMX tiles (Intel Software Developer's Manual, volume 1, chapter 18, and
// TDPBF16PS in volume 2): eight registers of 16 rows of 64 bytes, and an instruction that adds to 16 x 16
// floats the products of 16 rows with 32 bf16 and 32 bf16 with 16 columns.
//
// The driver (gemm_tiles.cpp) cuts, packs and stores; what touches a tile register is behind TileKernels, so
// that the same driver also runs on tiles in plain C++ (gemm_tiles_ref.cpp) on machines without AMX.

#include <cstddef>
#include <cstdint>

#include "kernels/gemm_kernels.h"

namespace fathom::gemm_detail {

constexpr size_t kTileRows = 16, kTileRowBytes = 64, kTileUnits = 16;
/// Rows of a strip of A, columns of a panel of B: two tiles each, whose four products have a register each.
constexpr size_t kStrip = 2 * kTileRows;
/// Positions along K that one product of tiles covers. The packed form of a step of a strip or panel is two
/// tiles, 2 KiB.
constexpr size_t kStepDepth = 32;
constexpr size_t kStepUnits = 2 * kTileRows * kTileUnits;
constexpr size_t kStepBytes = kStepUnits * 4;
/// Floats of the sums of a strip times a panel, (kStrip, kStrip), row-major.
constexpr size_t kBlockSums = kStrip * kStrip;

/// What LDTILECFG reads.
struct TileConfig {
  uint8_t palette, start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64);

/// All eight tiles whole: what does not fill them is packed with zeros.
constexpr TileConfig kWholeTiles{
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

/// The tile registers, configured while it lives.
class ConfiguredTiles {
 public:
  ConfiguredTiles(void (*configure)(const TileConfig&), void (*release)()) : release_(release) {
    configure(kWholeTiles);
  }
  ~ConfiguredTiles() { release_(); }
  ConfiguredTiles(const ConfiguredTiles&) = delete;
  ConfiguredTiles& operator=(const ConfiguredTiles&) = delete;

 private:
  void (*release_)();
};

/// Cache lines to ask for beside the products: in each step four of them, at `from`, `other` further on,
/// `line` after each of these two; the next step's begin `step` further on. Where there is nothing to ask
/// for, one line again and again: a test in the loop would cost more.
struct Ahead {
  const std::byte* from;
  size_t line, other, step;

  void ask_for_nothing(const void* near) {
    from = static_cast<const std::byte*>(near);
    line = other = step = 0;
  }
};

/// A strip of A times a panel of B over `steps` steps.
struct TileBlock {
  size_t rows, cols, steps;  ///< 1 <= rows, cols <= kStrip; steps >= 1.
  const std::byte* a;        ///< Rows of 64 bytes, a_stride apart; the next step's begin a_step further on.
  size_t a_stride, a_step;
  const uint32_t* b;  ///< Packed.
  float* sums;        ///< kBlockSums floats: where the sums go; they are added to what is there if `adds`.
  bool adds;
  Ahead next_b, next_out;  ///< Of B, to be read into L2; of C, to be written, by multiply_and_ask alone.
};

/// What is made of a product's sums where they are complete and still near. Used by many threads at once.
class TileEpilogue {
 public:
  /// `half`: panels come in pairs, each with the one so many further on, in groups of 2 half panels one
  /// behind the other; 0: each by itself. `columns_together`: of each run of so many columns, a multiple of
  /// kStrip, which one thread brings in their order.
  explicit TileEpilogue(size_t half_, size_t columns_together_ = kStrip)
      : half(half_), columns_together(columns_together_) {}
  virtual ~TileEpilogue() = default;
  TileEpilogue(const TileEpilogue&) = delete;
  TileEpilogue& operator=(const TileEpilogue&) = delete;

  /// Of C; of a pair, the first.
  struct Place {
    size_t row, column;
  };
  /// Takes sums of `rows` rows, kStrip apart, and of the same rows of the partner's panel.
  virtual void take(const float* sums, const float* partner, size_t rows, size_t columns,
                    const Place& at) const = 0;

  const size_t half, columns_together;
};

/// A block whose sums are complete. An epilogue takes its rows a few at a time beside the products of the
/// next block: stored all at once, they would make these wait for memory, and vectors and tiles can be at
/// work at the same time. (In deep products it takes them at once: gemm_tiles.cpp.)
struct Pending {
  const TileEpilogue* epilogue;
  const float *sums, *partner;
  TileEpilogue::Place at;
  size_t columns, rows = 0, a_step = 0;  ///< Rows that are left; how many to give with a step.

  void hand_over(size_t n) {
    epilogue->take(sums, partner, n, columns, at);
    sums += n * kStrip;
    partner += n * kStrip;
    at.row += n;
    rows -= n;
  }
};

/// Stores `rows` rows of a block's sums, `cols` <= kStrip of each (Store: gemm_kernels.h).
using StoreSums = void (*)(const float* sums, size_t rows, size_t cols, const Store& store);

struct EpilogueBlocks;  // gemm_epilogue_blocks.h

/// Packs `extent` <= kStrip rows of A or columns of B, and k positions along K, into ceil(k / 32) steps;
/// what is past `extent` or k is zero. Two forms read lines that run along K (line = row or column), two
/// lines across it (line = position along K).
using PackTiles = void (*)(uint32_t* to, Source from, size_t extent, size_t k);
struct TilePacking {
  PackTiles a_along, a_across, b_along, b_across;
  StoreSums store;
  StoreSums stream;  ///< The same past the caches, where C's rows allow it; to be followed by `fence`.
  void (*fence)();   ///< Makes what was streamed visible to other threads.
  const EpilogueBlocks* epilogues;
};

/// A result larger than this is written past the caches, none of which would keep it until it is read: an
/// ordinary store to a line that is not near fetches it first, and a fetch from L3 or memory (150 to 250
/// cycles, sixteen at a time) is what the tiles of A and B wait behind. A quarter less time for gate_up of
/// llama-130m.
constexpr size_t kMostCached = size_t{1} << 20;

/// Bytes of B, shared by all threads, that are packed at once.
constexpr size_t kTilesMostShared = size_t{32} << 20;

struct TileKernels {
  void (*configure)(const TileConfig& config);
  void (*release)();
  /// Sums of a block, with a few rows of another one handed over after each step...
  void (*multiply)(const TileBlock& block, Pending& other);
  /// ...or with lines of C asked for, which are to be written as soon as the sums are there.
  void (*multiply_and_ask)(const TileBlock& block);
  TilePacking packing;
  size_t packed_bytes = kTilesMostShared;  ///< Of B at once; tests have less.
};

/// The real tiles; needs amx.
const TileKernels& amx_kernels();
/// Tiles emulated bit by bit in plain C++, for tests. Errors: Error where the processor would refuse.
TileKernels emulated_tile_kernels(const TilePacking& packing);
/// Packing with AVX-512 (needs avx512_bf16), and its reference.
const TilePacking& avx512_tile_packing();
const TilePacking& plain_tile_packing();

/// b (K, N) packed as a whole, for MatrixIn::packed: panels of 32 columns, each over all of K.
constexpr size_t packed_tile_units(size_t K, size_t N) {
  return (N + kStrip - 1) / kStrip * ((K + kStepDepth - 1) / kStepDepth) * kStepUnits;
}
void pack_for_tiles(const TilePacking& packing, uint32_t* to, size_t K, size_t N, MatrixIn b);

/// The product under kBf16; M, N, K > 0; arguments as for gemm.
void multiply_on_tiles(const TileKernels& kernels, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b,
                       MatrixOut c, Addend addend);

/// The same sums, not rounded, to an epilogue. Needs takes_epilogue.
void multiply_on_tiles(const TileKernels& kernels, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b,
                       const TileEpilogue& epilogue);
/// Whether a product's columns fill panels, and, where these come in pairs, all of B is packed at once.
bool takes_epilogue(const TileKernels& kernels, size_t N, size_t K, const MatrixIn& b, bool pairs);

/// Whether gemm goes this way, with the instruction set and the backend in force.
bool runs_on_tiles(size_t M, Compute compute);

/// What such a product keeps.
GemmScratch tiles_scratch(size_t M, size_t N, size_t K, DType c);

}  // namespace fathom::gemm_detail
