#include "eval/scoring.h"

#include <algorithm>
#include <cstring>

#include "core/threads.h"
#include "eval/token_tree.h"
#include "kernels/cross_entropy.h"

namespace fathom {
namespace {

// Products over fewer rows go another way (kernels/gemm.h), whose sums are rounded otherwise: with at least
// so many, a row has the same bits in every pack.
constexpr size_t kFewestRows = 8;

// A beginning that all groups of a pack share, and that the next pack computes again, is at most one row in
// so many.
constexpr size_t kRowsPerShared = 4;

// A likelihood that is asked for: of `target` after the stream's row `row`.
struct Question {
  size_t row;
  int32_t target;
  double* nll;
};

TokenTree tree_of(std::span<const ScoreRequest> requests) {
  std::vector<std::span<const int32_t>> inputs;
  inputs.reserve(requests.size());
  for (const ScoreRequest& request : requests) inputs.push_back(request.inputs());
  return TokenTree(inputs);
}

std::vector<Question> questions_of(std::span<const ScoreRequest> requests, const TokenTree& tree,
                                   std::vector<std::vector<double>>& nll) {
  std::vector<Question> questions;
  nll.resize(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    const ScoreRequest& request = requests[i];
    nll[i].assign(request.scored, 0.0);
    for (size_t s = 0; s < request.scored; ++s) {
      const size_t back = request.scored - 1 - s;
      questions.push_back(
          {tree.row_from_end(i, back), request.ids[request.ids.size() - 1 - back], &nll[i][s]});
    }
  }
  std::stable_sort(questions.begin(), questions.end(),
                   [](const Question& a, const Question& b) { return a.row < b.row; });
  return questions;
}

// The head, for the rows that are asked about only, some at a time.
template <class W>
void answer(Transformer<W>& model, std::span<const Question> questions, const Stream<W>* x) {
  using S = Stream<W>;
  const size_t C = model.config().hidden_size, V = model.config().vocab_size;
  Buffer<S> stream(kHeadChunkRows * C), logits(kHeadChunkRows * V);
  for (size_t begin = 0; begin < questions.size();) {
    std::vector<size_t> place;  // of each question's row in the chunk
    size_t rows = 0, end = begin;
    for (; end < questions.size(); ++end) {
      if (end == begin || questions[end].row != questions[end - 1].row) {
        if (rows == kHeadChunkRows) break;
        std::memcpy(stream.data() + rows * C, x + questions[end].row * C, C * sizeof(S));
        ++rows;
      }
      place.push_back(rows - 1);
    }
    for (; rows < kFewestRows; ++rows) std::memcpy(stream.data() + rows * C, stream.data(), C * sizeof(S));
    model.logits(logits.data(), stream.data(), rows);
    parallel_for(end - begin, [&](size_t i) {
      const Question& question = questions[begin + i];
      *question.nll = softmax_nll_row(logits.data() + place[i] * V, question.target, false, S(0), V);
    });
    begin = end;
  }
}

}  // namespace

size_t tree_rows(std::span<const ScoreRequest> group) { return tree_of(group).rows(); }

template <class W>
ScoringWork score_together(Transformer<W>& model, std::span<const ProgramStep<Stream<W>>> program,
                           std::span<const ScoreRequest> requests, std::vector<std::vector<double>>& nll) {
  TokenTree tree = tree_of(requests);
  ScoringWork work{tree.rows(), 0};
  tree.pad_to(kFewestRows);
  Batch batch{.B = 1, .T = tree.rows(), .tokens = tree.tokens().data()};
  batch.segments = tree.segments();
  Buffer<Stream<W>> x(tree.rows() * model.config().hidden_size);
  model.embed(x.data(), batch);
  model.run(x.data(), program, batch);
  const std::vector<Question> questions = questions_of(requests, tree, nll);
  work.scored = questions.size();
  answer(model, questions, x.data());
  return work;
}

template <class W>
ScoringWork score_groups(Transformer<W>& model, std::span<const ProgramStep<Stream<W>>> program,
                         std::span<const std::vector<ScoreRequest>> groups, size_t begin, size_t batch_tokens,
                         const std::function<void(size_t, std::span<const std::vector<double>>)>& fn,
                         const std::function<void(size_t, const ScoringWork&)>& pack_done) {
  ScoringWork total;
  while (begin < groups.size()) {
    std::vector<ScoreRequest> pack;
    size_t rows = 0, end = begin, limit = batch_tokens;
    for (; end < groups.size(); ++end) {
      size_t more = tree_rows(groups[end]);
      if (!pack.empty()) {
        const size_t shared = common_prefix(pack.back().inputs(), groups[end].front().inputs());
        if (end == begin + 1) limit = std::max(limit, kRowsPerShared * shared);
        more -= shared;
        if (rows + more > limit) break;
      }
      rows += more;
      pack.insert(pack.end(), groups[end].begin(), groups[end].end());
    }
    std::vector<std::vector<double>> nll;
    const ScoringWork work = score_together(model, program, pack, nll);
    total.rows += work.rows;
    total.scored += work.scored;
    for (size_t g = begin, at = 0; g < end; at += groups[g++].size())
      fn(g, std::span<const std::vector<double>>(nll).subspan(at, groups[g].size()));
    begin = end;
    if (pack_done) pack_done(end, total);
  }
  return total;
}

#define FATHOM_INSTANTIATE(W)                                                                               \
  template ScoringWork score_together<W>(Transformer<W>&, std::span<const ProgramStep<Stream<W>>>,          \
                                         std::span<const ScoreRequest>, std::vector<std::vector<double>>&); \
  template ScoringWork score_groups<W>(                                                                     \
      Transformer<W>&, std::span<const ProgramStep<Stream<W>>>, std::span<const std::vector<ScoreRequest>>, \
      size_t, size_t, const std::function<void(size_t, std::span<const std::vector<double>>)>&,             \
      const std::function<void(size_t, const ScoringWork&)>&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
