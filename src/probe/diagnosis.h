#pragma once
// The whole diagnosis of a model's depth: every metric of this folder over a text, in as few passes as they
// allow, as the JSON that `fathom probe` writes.
//
// The text goes through the model layer by layer: all of it passes a layer before the next is asked for, so
// that a source that reads its weights from files reads each once a pass.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/progress.h"
#include "model/transformer.h"
#include "text/windows.h"

namespace fathom {

struct DiagnosisOptions {
  /// Which metrics, by their JSON keys; see diagnosis_metrics().
  std::set<std::string> metrics;
  size_t batch_size = 0;  ///< sequences in a layer at a time; 0: about 2048 tokens of them
  size_t pass_rows = 0;   ///< tokens whose streams are held at a time; 0: all
  /// What the usefulness, or gradients over several passes, may hold beside streams and weights; nothing: not
  /// bounded.
  std::optional<size_t> spare_bytes;
  size_t probes = 1;                   ///< sign vectors a sequence, for the identity deviation; 0: exact
  uint64_t seed = 1;                   ///< of the sign vectors
  uint64_t permutation_tokens = 1024;  ///< the permutation score costs L^2 / 3 passes: of the first tokens
  uint64_t lens_tokens = 0;            ///< the lens costs L + 1 heads a token: of the first tokens; 0: all
  std::filesystem::path spill;         ///< a folder for the streams; empty: they stay in memory

  /// Where to keep how far it has come; empty: nowhere. With it goes what tells this model from another. It
  /// stays when the diagnosis is done, until its result is safe: remove_diagnosis_state.
  std::filesystem::path state;
  std::string model_identity;
  const std::atomic<bool>* stop = nullptr;  ///< where it becomes true, the diagnosis saves and ends
};

/// All metrics; those that one forward pass gives (`--level quick`).
std::vector<std::string> diagnosis_metrics();
std::vector<std::string> quick_metrics();
/// The set of these names. A key of the result that comes of a metric (x_stderr, usefulness_share,
/// delta_loss) stands for it; loss and perplexity are always there. Errors: Error (usage) for an unknown one,
/// with the nearest.
std::set<std::string> parse_metrics(const std::vector<std::string>& names);

/// The result: keys as docs/metrics.md has them; `x_stderr` beside `x`, null where there is none. Where
/// options.state holds an earlier diagnosis of the same model, text and options, it goes on from there, with
/// the cuts of the text that it was begun with whatever options.pass_rows says, and gives what one go would
/// have given. What is too large to be kept is made anew: the streams of a pass, and where there are several
/// passes the linear maps and the sums of gradients. Errors: those of Transformer::forward and SpillFile;
/// Error where it is stopped, saying how to go on.
template <class W>
nlohmann::json diagnose(Transformer<W>& model, const TokenSequences& sequences,
                        const DiagnosisOptions& options, const std::vector<ParamSpec>& list,
                        Progress& progress);

/// The cuts (pass_rows) of the diagnosis that options.state holds; nothing where it holds none of this model,
/// text and options.
template <class W>
std::optional<size_t> kept_pass_rows(const TokenSequences& sequences, const DiagnosisOptions& options);

/// Once the result is safe.
void remove_diagnosis_state(const DiagnosisOptions& options);

/// What the numbers say, in sentences for people.
std::vector<std::string> diagnosis_summary(const nlohmann::json& diagnosis);

}  // namespace fathom
