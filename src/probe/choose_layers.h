#pragma once
// Which layers to leave out, if K are to go. Layers are chosen on one part of a text and priced on another
// (split_text): what was picked because it looked cheap on some text looks cheaper there than it is.

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/progress.h"
#include "model/transformer.h"
#include "text/windows.h"

namespace fathom {

enum class ChooseBy {
  /// The run of K consecutive layers that turns the stream by the smallest angle. Gromov et al. 2024,
  /// arXiv:2403.17887.
  kAngular,
  /// The K layers of the lowest block influence. Men et al. 2024, arXiv:2403.03853.
  kInfluence,
  /// Greedily, the layer whose removal costs the least loss, all others scored anew after each. Song et al.
  /// 2024, arXiv:2402.09025 (SLEB).
  kLoss,
};

/// "angular", "influence" or "loss". Errors: Error (usage) for another name.
ChooseBy parse_choose_by(const std::string& name);

struct ChooseOptions {
  size_t count = 1;  ///< K
  ChooseBy by = ChooseBy::kLoss;
  /// Angular distance over the last scored token of each sequence, as in the paper; otherwise over all.
  bool last_token = false;
  std::vector<size_t> keep = {};  ///< 1-based places that may not be left out, rising
  size_t batch_size = 8;
};

struct LayerChoice {
  /// [k - 1]: the layers (1-based places, rising) that the method leaves out for k = 1 to K. Nested for
  /// influence and loss; for angular distance each is a run of its own.
  std::vector<std::vector<size_t>> sets;
  /// The order of removal; empty for angular distance, which chooses whole runs.
  std::vector<size_t> order;
  /// [k - 1]: the run's angular distance (1: half a turn), the k-th layer's block influence, or the loss that
  /// the k-th removal added, in nats; all on the text that the choice was made on.
  std::vector<double> scores;
  /// Angular distance: the K layers that the other kind of token would have chosen.
  std::vector<size_t> by_other_tokens;
  /// What it took, in runs of a layer over all tokens.
  double layer_runs = 0;
};

/// Chooses on `sequences`. Cost: one pass; greedily by loss, K removal sweeps over the layers that are left.
/// Memory: the streams of one batch. Errors: Error (usage) where K layers can't be left out (too many, or too
/// many kept); Error where no score is a number; those of Transformer::forward.
template <class W>
LayerChoice choose_layers(Transformer<W>& model, const TokenSequences& sequences,
                          const ChooseOptions& options, Progress& progress);

/// The first half of the sequences, to choose on, and the rest, to price on. Halves and not every other one:
/// windows side by side are of the same document. Errors: Error for fewer than four, since each part needs
/// two for a standard error.
std::pair<TokenSequences, TokenSequences> split_text(const TokenSequences& sequences);

}  // namespace fathom
