#include "eval/request_pack.h"

#include <algorithm>
#include <cstring>

#include "core/threads.h"
#include "kernels/cross_entropy.h"

namespace fathom {
namespace {

// Products over fewer rows go another way (kernels/gemm.h), whose sums are rounded otherwise: with at least
// so many, a row has the same bits in every pack.
constexpr size_t kFewestRows = 8;

TokenTree tree_of(std::span<const ScoreRequest> requests) {
  std::vector<std::span<const int32_t>> inputs;
  inputs.reserve(requests.size());
  for (const ScoreRequest& request : requests) inputs.push_back(request.inputs());
  return TokenTree(inputs);
}

}  // namespace

size_t tree_rows(std::span<const ScoreRequest> group) { return tree_of(group).rows(); }

RequestPack::RequestPack(std::span<const ScoreRequest> requests)
    : tree_(tree_of(requests)), work_{tree_.rows(), 0} {
  tree_.pad_to(kFewestRows);
  for (size_t i = 0; i < requests.size(); ++i) {
    const ScoreRequest& request = requests[i];
    scored_.push_back(request.scored);
    for (size_t s = 0; s < request.scored; ++s) {
      const size_t back = request.scored - 1 - s;
      questions_.push_back({tree_.row_from_end(i, back), request.ids[request.ids.size() - 1 - back], i, s});
    }
  }
  std::stable_sort(questions_.begin(), questions_.end(),
                   [](const Question& a, const Question& b) { return a.row < b.row; });
  work_.scored = questions_.size();
}

Batch RequestPack::batch() const {
  Batch batch{.B = 1, .T = tree_.rows(), .tokens = tree_.tokens().data()};
  batch.segments = tree_.segments();
  return batch;
}

template <class W>
void RequestPack::answer(Transformer<W>& model, const Stream<W>* x,
                         std::span<std::vector<double>> nll) const {
  using S = Stream<W>;
  const size_t C = model.config().hidden_size, V = model.config().vocab_size;
  for (size_t i = 0; i < scored_.size(); ++i) nll[i].assign(scored_[i], 0.0);
  Buffer<S> stream(kHeadChunkRows * C), logits(kHeadChunkRows * V);
  for (size_t begin = 0; begin < questions_.size();) {
    std::vector<size_t> place;  // of each question's row in the chunk
    size_t rows = 0, end = begin;
    for (; end < questions_.size(); ++end) {
      if (end == begin || questions_[end].row != questions_[end - 1].row) {
        if (rows == kHeadChunkRows) break;
        std::memcpy(stream.data() + rows * C, x + questions_[end].row * C, C * sizeof(S));
        ++rows;
      }
      place.push_back(rows - 1);
    }
    for (; rows < kFewestRows; ++rows) std::memcpy(stream.data() + rows * C, stream.data(), C * sizeof(S));
    model.logits(logits.data(), stream.data(), rows);
    parallel_for(end - begin, [&](size_t i) {
      const Question& question = questions_[begin + i];
      nll[question.request][question.place] =
          softmax_nll_row(logits.data() + place[i] * V, question.target, false, S(0), V);
    });
    begin = end;
  }
}

#define FATHOM_INSTANTIATE(W)                                                                             \
  template void RequestPack::answer<W>(Transformer<W>&, const Stream<W>*, std::span<std::vector<double>>) \
      const;
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
