#include "probe/sequence_batches.h"

#include <algorithm>

#include "kernels/cross_entropy.h"
#include "probe/sequence_mean.h"

namespace fathom {

SequenceBatches::SequenceBatches(const TokenSequences& sequences, size_t batch_size) : sequences_(sequences) {
  for (size_t begin = 0; begin < sequences.size(); begin += batch_size) {
    Range range{begin, std::min(sequences.size(), begin + batch_size), 0};
    for (size_t s = range.begin; s < range.end; ++s) range.T = std::max(range.T, sequences[s].size() - 1);
    ranges_.push_back(range);
  }
}

SequenceBatches SequenceBatches::by_rows(const TokenSequences& sequences, size_t max_rows) {
  SequenceBatches batches(sequences);
  size_t tokens = 0;  // of the last range
  for (size_t s = 0; s < sequences.size(); ++s) {
    const size_t length = sequences[s].size() - 1;
    bool joins = !batches.ranges_.empty();
    if (joins) {
      const Range& last = batches.ranges_.back();
      const size_t rows = (s + 1 - last.begin) * std::max(last.T, length);
      joins = (max_rows == 0 || rows <= max_rows) && rows <= 2 * (tokens + length);
    }
    if (!joins) {
      batches.ranges_.push_back({s, s, 0});
      tokens = 0;
    }
    Range& range = batches.ranges_.back();
    range.end = s + 1;
    range.T = std::max(range.T, length);
    tokens += length;
  }
  return batches;
}

size_t SequenceBatches::most_rows() const {
  size_t most = 0;
  for (const Range& range : ranges_) most = std::max(most, (range.end - range.begin) * range.T);
  return most;
}

Batch SequenceBatches::operator[](size_t index) {
  const auto [begin, end, T] = ranges_[index];
  inputs_.assign((end - begin) * T, 0);
  targets_.assign((end - begin) * T, kIgnoredTarget);
  for (size_t s = begin; s < end; ++s) {
    const std::vector<int32_t>& ids = sequences_[s];
    const auto at = static_cast<std::ptrdiff_t>((s - begin) * T);
    std::copy(ids.begin(), ids.end() - 1, inputs_.begin() + at);
    std::copy(ids.begin() + 1, ids.end(), targets_.begin() + at);
  }
  return {.B = end - begin, .T = T, .tokens = inputs_.data(), .targets = targets_.data()};
}

uint64_t SequenceBatches::tokens() const {
  uint64_t n = 0;
  for (const auto& ids : sequences_) n += ids.size() - 1;
  return n;
}

Batch sequences_of(const Batch& batch, size_t first, size_t count) {
  Batch part = batch;
  part.B = count;
  part.tokens += first * batch.T;
  part.targets += first * batch.T;
  if (part.first_key != nullptr) part.first_key += first * batch.T;
  return part;
}

Batch first_sequences(const Batch& batch, uint64_t limit, uint64_t so_far) {
  if (limit == 0) return batch;
  const uint64_t missing = limit > so_far ? limit - so_far : 0;
  return sequences_of(batch, 0, std::min<size_t>(batch.B, (missing + batch.T - 1) / batch.T));
}

std::vector<size_t> scored_rows(const Batch& batch) {
  std::vector<size_t> rows;
  for (size_t r = 0; r < batch.rows(); ++r) {
    if (is_scored(batch, r)) rows.push_back(r);
  }
  return rows;
}

uint64_t scored_tokens(const Batch& batch) { return scored_rows(batch).size(); }

}  // namespace fathom
