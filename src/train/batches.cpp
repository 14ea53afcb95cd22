#include "train/batches.h"

#include <algorithm>

#include "kernels/cross_entropy.h"

namespace fathom {

BatchBuffer::BatchBuffer(size_t B, size_t T, bool mask_documents)
    : T_(T), tokens_(B * T), targets_(B * T), first_key_(mask_documents ? B * T : 0) {}

void BatchBuffer::read_window(const DataSource& data, size_t b, uint64_t index) {
  data.window(index, tokens_.data() + b * T_, targets_.data() + b * T_, first_key(b));
}

void BatchBuffer::read_validation_window(const DataSource& data, size_t b, uint64_t index) {
  data.validation_window(index, tokens_.data() + b * T_, targets_.data() + b * T_, first_key(b));
}

Batch BatchBuffer::view(size_t first, size_t B) const {
  const size_t at = first * T_;
  return {B, T_, tokens_.data() + at, targets_.data() + at,
          first_key_.empty() ? nullptr : first_key_.data() + at};
}

uint64_t BatchBuffer::scored() const {
  return targets_.size() -
         static_cast<uint64_t>(std::count(targets_.begin(), targets_.end(), kIgnoredTarget));
}

template <class W>
std::optional<SequenceLoss> evaluate(Transformer<W>& model, const DataSource& data, BatchBuffer& buffer,
                                     size_t B, uint64_t sequences, const std::atomic<bool>* stop) {
  SequenceLoss loss;
  for (uint64_t begin = 0; begin < sequences; begin += B) {
    if (stop != nullptr && stop->load()) return {};
    const auto n = static_cast<size_t>(std::min<uint64_t>(B, sequences - begin));
    for (size_t b = 0; b < n; ++b) buffer.read_validation_window(data, b, begin + b);
    append_losses(loss, model, buffer.view(0, n));
  }
  return loss;
}

#define FATHOM_INSTANTIATE(W)                                                                             \
  template std::optional<SequenceLoss> evaluate(Transformer<W>&, const DataSource&, BatchBuffer&, size_t, \
                                                uint64_t, const std::atomic<bool>*);
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
