#include "eval/evaluate.h"

#include <numeric>

#include <fmt/format.h>
#include <xxhash.h>

#include "core/error.h"

namespace fathom {

uint64_t fingerprint_of(const PreparedTask& task) {
  XXH64_hash_t hash = 0;
  const auto add = [&](const void* data, size_t bytes) { hash = XXH3_64bits_withSeed(data, bytes, hash); };
  for (const PreparedItem& item : task.items) {
    add(&item.gold, sizeof(item.gold));
    for (const ScoreRequest& request : item.requests) {
      add(&request.scored, sizeof(request.scored));
      add(request.ids.data(), request.ids.size() * sizeof(request.ids[0]));
    }
  }
  return hash;
}

template <class W>
ScoringWork score_task(Transformer<W>& model, std::span<const ProgramStep<Stream<W>>> program,
                       const PreparedTask& task, size_t batch_tokens,
                       std::vector<std::vector<double>>& log_likelihoods, Progress& progress,
                       const std::function<void()>& pack_done,
                       std::span<const ProgramVariant<Stream<W>>> variants) {
  const std::vector<std::vector<ScoreRequest>> groups = task.groups();
  const size_t begin = log_likelihoods.size();
  if (begin > groups.size()) fail("the partial results hold more items than the task", "delete them");
  progress.begin(task.task->name, groups.size(), "items");
  progress.update(begin);
  const ScoringWork work = score_groups<W>(
      model, program, groups, begin, batch_tokens,
      [&](size_t, std::span<const std::vector<double>> nll) {
        std::vector<double>& values = log_likelihoods.emplace_back();
        for (const std::vector<double>& tokens : nll)
          values.push_back(-std::accumulate(tokens.begin(), tokens.end(), 0.0));
      },
      [&](size_t done, const ScoringWork&) {
        progress.update(done);
        if (pack_done) pack_done();
      },
      variants);
  progress.end();
  return work;
}

#define FATHOM_INSTANTIATE(W)                                                                        \
  template ScoringWork score_task<W>(Transformer<W>&, std::span<const ProgramStep<Stream<W>>>,       \
                                     const PreparedTask&, size_t, std::vector<std::vector<double>>&, \
                                     Progress&, const std::function<void()>&,                        \
                                     std::span<const ProgramVariant<Stream<W>>>);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
