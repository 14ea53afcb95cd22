#pragma once
// Requests laid out as the rows of one pass: what goes through the layers, and which rows are asked about.

#include <span>
#include <vector>

#include "eval/scoring.h"
#include "eval/token_tree.h"

namespace fathom {

class RequestPack {
 public:
  explicit RequestPack(std::span<const ScoreRequest> requests);
  /// Its views are of this pack.
  Batch batch() const;
  const ScoringWork& work() const { return work_; }
  size_t requests() const { return scored_.size(); }

  /// nll[i] (scored ids of request i) = minus the log of the probability of each, in nats, given the last
  /// stream x (rows, C). The head is computed for the rows that are asked about only, some at a time.
  template <class W>
  void answer(Transformer<W>& model, const Stream<W>* x, std::span<std::vector<double>> nll) const;

 private:
  // A likelihood that is asked for: of `target` after the stream's row `row`.
  struct Question {
    size_t row;
    int32_t target;
    size_t request, place;
  };
  TokenTree tree_;
  ScoringWork work_;
  std::vector<size_t> scored_;       // ids of each request
  std::vector<Question> questions_;  // by row
};

}  // namespace fathom
