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
  /// The number of a batch's first sequence; of all sequences for index = count().
  size_t first(size_t index) const {
    return index < ranges_.size() ? ranges_[index].begin : sequences_.size();
  }
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

/// `count` sequences of a batch from number `first` on.
Batch sequences_of(const Batch& batch, size_t first, size_t count);
/// The first sequences of a batch: as many as it takes for `limit` tokens in all (0: no limit) with the
/// `so_far` of earlier batches.
Batch first_sequences(const Batch& batch, uint64_t limit, uint64_t so_far);
/// The rows that have a target (all, where the batch has none), and their number.
std::vector<size_t> scored_rows(const Batch& batch);
uint64_t scored_tokens(const Batch& batch);

}  // namespace fathom
