#pragma once
// Sequences of token ids as batches for the model.

#include <cstdint>
#include <vector>

#include "model/transformer.h"
#include "text/windows.h"

namespace fathom {

/// Cuts sequences into batches, in order. A sequence of n ids gives n - 1 inputs and n - 1 targets; shorter
/// ones of a batch are padded at the end with positions that have no target.
class SequenceBatches {
 public:
  /// Up to `batch_size` sequences a batch. `sequences` outlives it; each has two ids or more. batch_size > 0.
  SequenceBatches(const TokenSequences& sequences, size_t batch_size);
  /// As many sequences a batch as `max_rows` rows hold (0: any number; at least one sequence) and as padding
  /// allows, which may be half of a batch.
  static SequenceBatches by_rows(const TokenSequences& sequences, size_t max_rows);

  size_t count() const { return ranges_.size(); }
  /// Valid until the next call.
  Batch operator[](size_t index);
  /// All targets.
  uint64_t tokens() const;
  /// Of the largest batch.
  size_t most_rows() const;

 private:
  struct Range {
    size_t begin, end, T;
  };
  explicit SequenceBatches(const TokenSequences& sequences) : sequences_(sequences) {}

  const TokenSequences& sequences_;
  std::vector<Range> ranges_;
  std::vector<int32_t> inputs_, targets_;
};

}  // namespace fathom
