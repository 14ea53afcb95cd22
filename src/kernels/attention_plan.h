#pragma once
// What the attention's drivers and its SIMD code must agree on: block sizes and scratch memory.

#include <cstddef>
#include <cstdint>

#include "kernels/rounding.h"

namespace fathom {

/// Queries and keys a block: 64 x 64 scores are 16 KiB, so that scores, operands and output of a block stay
/// in the cache of one core while they are used.
constexpr size_t kAttentionBlock = 64;
/// Keys and head sizes are padded with zeros to multiples of these: whole vectors, and whole pairs of them.
constexpr size_t kKeyPad = 32, kHeadPad = 16;
/// Rows of queries are padded to whole tiles.
constexpr size_t kQueryPad = 8;

/// The first key that any of the rows sees; first_key may be null.
inline size_t first_key_of(const int32_t* first_key, size_t rows) {
  if (first_key == nullptr) return 0;
  int32_t lowest = first_key[0];
  for (size_t r = 1; r < rows; ++r) lowest = first_key[r] < lowest ? first_key[r] : lowest;
  return static_cast<size_t>(lowest);
}

/// The processor converts two vectors of 16 floats to one of bf16, one behind the other; this order makes
/// pairs of them.
alignas(64) inline constexpr uint16_t kInterleaveRows[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                             21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                             11, 27, 12, 28, 13, 29, 14, 30, 15, 31};

constexpr float kLn2 = 0x1.62e43p-1f;
/// Stands for minus infinity where a difference of two of them must be 0.
constexpr float kLowest = -1e30f;

/// Hands out consecutive pieces of scratch memory.
struct Scratch {
  float* next;
  float* take(size_t n) {
    float* piece = next;
    next += n;
    return piece;
  }
};

/// Blocks of queries that share the packing of keys in a forward over more than so many (at few blocks a
/// second pass over the keys costs less than the state of several blocks): the state of four, 32 KiB each at
/// a head size of 64, fits the second-level cache beside the keys.
constexpr size_t kForwardBlocks = 4;

/// A piece of a forward's work: `blocks` (up to kForwardBlocks) blocks of queries, from t0 on, of query head
/// h of sequence b; on tiles, of `heads` heads from h on.
struct ForwardPart {
  size_t b, h, t0, blocks;
  size_t heads = 1;
};

/// Floats of scratch that a forward over kForwardBlocks blocks of queries needs, whatever the number of keys.
constexpr size_t forward_scratch_size(size_t HS) {
  const size_t panel = kAttentionBlock * round_up(HS, kHeadPad);
  return 3 * panel + 2 * kAttentionBlock * kAttentionBlock + kAttentionBlock +
         kForwardBlocks * (2 * panel + 2 * kAttentionBlock);
}

/// Decoding: the keys that a piece of work takes: few enough that a context of 2,048 has work for 16 threads,
/// so many that what the pieces leave to be put together is little beside the keys.
constexpr size_t kDecodeKeys = 128;

/// A piece of decoding's work: query t of sequence b, `keys` keys from first_key on.
struct DecodePart {
  size_t b, t, first_key, keys;
};

/// Floats of what a query head has from a piece of the keys: sum of p v (HS, padded), the highest score, sum
/// of p.
constexpr size_t decode_partial_size(size_t HS) { return round_up(HS, kHeadPad) + kHeadPad; }

/// Floats of scratch that decoding needs on a thread, whatever the number of keys.
constexpr size_t decode_scratch_size(size_t NH, size_t HS) {
  return NH * (kDecodeKeys + round_up(HS, kHeadPad) + decode_partial_size(HS));
}

/// A piece of a backward's work: `heads` query heads from h on of sequence b, which read one head of keys and
/// values. `sums`: room for what they give to its dk and dv, backward_sums_size floats; null where they are
/// all that read it, which then writes dk and dv.
struct BackwardPart {
  size_t b, h, heads;
  float* sums;
};

/// Floats of the sums of dk and dv, (T, HS) each.
constexpr size_t backward_sums_size(size_t T, size_t HS) {
  return 2 * round_up(T, kAttentionBlock) * round_up(HS, kHeadPad);
}

/// Whether the query heads of a key/value head are pieces of their own: where there are few of these, as in
/// fine-tuning at a batch of one, most threads would have nothing to do. Not where their sums would take much
/// memory. The bits are the same.
constexpr bool splits_backward(size_t B, size_t T, size_t NH, size_t NKV, size_t HS) {
  constexpr size_t kFewPieces = 16, kMostFloats = size_t{8} << 20;
  return NH > NKV && B * NKV < kFewPieces && B * NH * backward_sums_size(T, HS) <= kMostFloats;
}

/// Floats of scratch that a backward over one key/value head needs: seven (T, HS) arrays (keys twice, values,
/// two gradients, and those of one query head) and the blocks. Linear in T.
constexpr size_t backward_scratch_size(size_t T, size_t HS) {
  const size_t HSp = round_up(HS, kHeadPad), panel = kAttentionBlock * HSp;
  return 7 * round_up(T, kAttentionBlock) * HSp + 6 * panel + 5 * kAttentionBlock * kAttentionBlock +
         2 * kAttentionBlock;
}

}  // namespace fathom
