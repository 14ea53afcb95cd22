#include "probe/sequence_batches.h"

#include <algorithm>

#include "kernels/cross_entropy.h"

namespace fathom {

Batch SequenceBatches::operator[](size_t index) {
  const size_t begin = index * batch_size_, end = std::min(sequences_.size(), begin + batch_size_);
  size_t T = 0;
  for (size_t s = begin; s < end; ++s) T = std::max(T, sequences_[s].size() - 1);
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

}  // namespace fathom
