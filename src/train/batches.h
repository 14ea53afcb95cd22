#pragma once
// The sequences of a training step and of an evaluation, read from a source of windows.

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "model/sequence_loss.h"
#include "train/data_source.h"

namespace fathom {

/// Room for B sequences of T tokens.
class BatchBuffer {
 public:
  BatchBuffer(size_t B, size_t T, bool mask_documents);
  /// Sequence `b` from training window `index` of the run, or from validation window `index`.
  void read_window(const DataSource& data, size_t b, uint64_t index);
  void read_validation_window(const DataSource& data, size_t b, uint64_t index);
  /// Sequences [first, first + B).
  Batch view(size_t first, size_t B) const;
  /// Targets that are scored, of all sequences.
  uint64_t scored() const;

 private:
  int32_t* first_key(size_t b) { return first_key_.empty() ? nullptr : first_key_.data() + b * T_; }
  size_t T_;
  std::vector<int32_t> tokens_, targets_, first_key_;
};

/// Loss on the first `sequences` validation windows, `B` at a time; nothing where `*stop` became true before
/// the last of them.
template <class W>
std::optional<SequenceLoss> evaluate(Transformer<W>& model, const DataSource& data, BatchBuffer& buffer,
                                     size_t B, uint64_t sequences, const std::atomic<bool>* stop = nullptr);

}  // namespace fathom
