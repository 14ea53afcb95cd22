#include "eval/scoring.h"

#include <algorithm>

#include "eval/request_pack.h"

namespace fathom {
namespace {

// A beginning that all groups of a pack share, and that the next pack computes again, is at most one row in
// so many.
constexpr size_t kRowsPerShared = 4;

}  // namespace

template <class W>
ScoringWork score_together(Transformer<W>& model, std::span<const ProgramStep<Stream<W>>> program,
                           std::span<const ScoreRequest> requests, std::vector<std::vector<double>>& nll,
                           std::span<const ProgramVariant<Stream<W>>> variants) {
  const RequestPack pack(requests);
  const Batch batch = pack.batch();
  const size_t size = batch.rows() * model.config().hidden_size, count = 1 + variants.size();
  Buffer<Stream<W>> memory(count * size);
  std::vector<Stream<W>*> streams;
  for (size_t v = 0; v < count; ++v) streams.push_back(memory.data() + v * size);
  model.embed(streams[0], batch);
  run_variants<W>(model, streams, program, variants, batch);
  nll.resize(count * requests.size());
  for (size_t v = 0; v < count; ++v)
    pack.answer(model, streams[v], std::span(nll).subspan(v * requests.size(), requests.size()));
  return {pack.work().rows, count * pack.work().scored};
}

GroupRange next_pack(std::span<const std::vector<ScoreRequest>> groups, size_t begin, size_t batch_tokens) {
  GroupRange pack{begin, begin, 0};
  size_t limit = batch_tokens;
  for (; pack.end < groups.size(); ++pack.end) {
    size_t more = tree_rows(groups[pack.end]);
    if (pack.end > begin) {
      const size_t shared =
          common_prefix(groups[pack.end - 1].back().inputs(), groups[pack.end].front().inputs());
      if (pack.end == begin + 1) limit = std::max(limit, kRowsPerShared * shared);
      more -= shared;
      if (pack.rows + more > limit) break;
    }
    pack.rows += more;
  }
  return pack;
}

template <class W>
ScoringWork score_groups(Transformer<W>& model, std::span<const ProgramStep<Stream<W>>> program,
                         std::span<const std::vector<ScoreRequest>> groups, size_t begin, size_t batch_tokens,
                         const std::function<void(size_t, std::span<const std::vector<double>>)>& fn,
                         const std::function<void(size_t, const ScoringWork&)>& pack_done,
                         std::span<const ProgramVariant<Stream<W>>> variants) {
  ScoringWork total;
  while (begin < groups.size()) {
    const GroupRange range = next_pack(groups, begin, batch_tokens);
    std::vector<ScoreRequest> requests;
    for (size_t g = begin; g < range.end; ++g)
      requests.insert(requests.end(), groups[g].begin(), groups[g].end());
    std::vector<std::vector<double>> nll;
    const ScoringWork work = score_together<W>(model, program, requests, nll, variants);
    total.rows += work.rows;
    total.scored += work.scored;
    std::vector<std::vector<double>> own;
    for (size_t g = begin, at = 0; g < range.end; at += groups[g++].size()) {
      own.clear();
      for (size_t v = 0; v <= variants.size(); ++v) {
        const auto first = nll.begin() + static_cast<std::ptrdiff_t>(v * requests.size() + at);
        std::move(first, first + static_cast<std::ptrdiff_t>(groups[g].size()), std::back_inserter(own));
      }
      fn(g, own);
    }
    begin = range.end;
    if (pack_done) pack_done(begin, total);
  }
  return total;
}

#define FATHOM_INSTANTIATE(W)                                                                               \
  template ScoringWork score_together<W>(Transformer<W>&, std::span<const ProgramStep<Stream<W>>>,          \
                                         std::span<const ScoreRequest>, std::vector<std::vector<double>>&,  \
                                         std::span<const ProgramVariant<Stream<W>>>);                       \
  template ScoringWork score_groups<W>(                                                                     \
      Transformer<W>&, std::span<const ProgramStep<Stream<W>>>, std::span<const std::vector<ScoreRequest>>, \
      size_t, size_t, const std::function<void(size_t, std::span<const std::vector<double>>)>&,             \
      const std::function<void(size_t, const ScoringWork&)>&, std::span<const ProgramVariant<Stream<W>>>);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
