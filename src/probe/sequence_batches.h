#pragma once
// Sequences of token ids as batches for the model.

#include <cstdint>
#include <vector>

#include "model/transformer.h"
#include "text/windows.h"

namespace fathom {

/// Cuts sequences into batches of up to `batch_size`, in order. A sequence of n ids gives n - 1 inputs and n
/// - 1 targets; shorter ones of a batch are padded at the end with positions that have no target.
class SequenceBatches {
 public:
  /// `sequences` outlives it; each has two ids or more. batch_size > 0.
  SequenceBatches(const TokenSequences& sequences, size_t batch_size)
      : sequences_(sequences), batch_size_(batch_size) {}

  size_t count() const { return (sequences_.size() + batch_size_ - 1) / batch_size_; }
  /// Valid until the next call.
  Batch operator[](size_t index);
  /// All targets.
  uint64_t tokens() const;

 private:
  const TokenSequences& sequences_;
  size_t batch_size_;
  std::vector<int32_t> inputs_, targets_;
};

}  // namespace fathom
