#pragma once
// How likely a model finds given continuations: the one place where evaluation meets a forward pass.
//
// Requests are packed: rows of many requests go through a layer's products together, without padding, and
// what requests have in common at their start (a context, few-shot examples) is computed once. The numbers
// have the same bits however requests are packed and whatever the number of threads.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/program_variants.h"

namespace fathom {

/// Ids of a context and its continuation; the last `scored` ids are the continuation. At least one id comes
/// before them.
struct ScoreRequest {
  std::vector<int32_t> ids;
  size_t scored = 0;

  std::span<const int32_t> inputs() const { return std::span(ids).first(ids.size() - 1); }
};

/// What scoring took.
struct ScoringWork {
  uint64_t rows = 0;    ///< tokens that went through the layers: those of shared beginnings once
  uint64_t scored = 0;  ///< tokens whose likelihood was asked for
};

/// Runs `program` and its `variants` over all requests in one pass; nll[v * requests + i] (scored ids of
/// request i) is minus the log of the probability of each, in nats: v = 0 for the program, 1 + k for variant
/// k. Memory: (1 + variants) rows C for the streams. Errors: those of Transformer::run.
template <class W>
ScoringWork score_together(Transformer<W>& model, std::span<const ProgramStep<Stream<W>>> program,
                           std::span<const ScoreRequest> requests, std::vector<std::vector<double>>& nll,
                           std::span<const ProgramVariant<Stream<W>>> variants = {});

/// Groups [begin, end), which go through the layers together as `rows` rows.
struct GroupRange {
  size_t begin = 0, end = 0, rows = 0;
};

/// The pack that begins at group `begin`: groups in order, up to `batch_tokens` rows. A pack may be larger
/// where its first group is, and where its groups have a long beginning in common (few-shot examples), which
/// each pack computes anew: it may then have four times the rows of that.
GroupRange next_pack(std::span<const std::vector<ScoreRequest>> groups, size_t begin, size_t batch_tokens);

/// Scores `groups` (requests that belong together, such as an item's) a pack at a time, and hears each
/// group's nll as it comes: fn(group, nll of each of its requests, under the program, then under each
/// variant). `begin`: the first group to be scored. `pack_done` is called after each pack with the number of
/// groups that are done.
template <class W>
ScoringWork score_groups(Transformer<W>& model, std::span<const ProgramStep<Stream<W>>> program,
                         std::span<const std::vector<ScoreRequest>> groups, size_t begin, size_t batch_tokens,
                         const std::function<void(size_t, std::span<const std::vector<double>>)>& fn,
                         const std::function<void(size_t, const ScoringWork&)>& pack_done,
                         std::span<const ProgramVariant<Stream<W>>> variants = {});

/// Rows that the requests of one group take.
size_t tree_rows(std::span<const ScoreRequest> group);

}  // namespace fathom
