#pragma once
// Perplexity of a text, by the two conventions that published numbers follow. They differ by several percent
// on the same model and text, so that a number without its convention says little.

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/progress.h"
#include "eval/scoring.h"
#include "text/tokenizer.h"
#include "text/windows.h"

namespace fathom {

struct PerplexitySettings {
  enum class Convention {
    /// Windows of `window` ids that begin every `stride` ids; each scores what the one before it did not
    /// reach. The first id of a window that overlaps no other is not scored. A BOS, where the tokenizer adds
    /// one, stands once in front of the text. (Hugging Face, "Perplexity of fixed-length models".)
    kStrided,
    /// Chunks of `window` ids without overlap, the last short one left out; a BOS, where the tokenizer adds
    /// one, replaces the first id of each chunk; the second half of each chunk is scored. (llama-perplexity.)
    kLlamaCpp,
  };
  Convention convention = Convention::kStrided;
  size_t window = 0;  ///< 0: min(max_length, 1024); 512 for llama.cpp's
  size_t stride = 0;  ///< 0: half a window; strided only
};

/// "hf" or "llama.cpp". Errors: Error (usage) for another name.
PerplexitySettings::Convention parse_convention(const std::string& name);
/// The convention in words, as results name it.
std::string convention_text(const PerplexitySettings& settings);

/// Fills in the defaults and checks. Errors: Error (usage) where a size does not fit the model or the
/// convention.
PerplexitySettings resolve(PerplexitySettings settings, size_t max_length);

/// What is scored, window by window. `settings` are resolved. Errors: Error where the text is too short.
std::vector<ScoreRequest> perplexity_windows(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                                             const PerplexitySettings& settings);

struct PerplexityResult {
  PerplexitySettings settings;
  uint64_t windows = 0, tokens = 0;  ///< tokens: scored ones
  double bytes = 0, words = 0;       ///< of the scored tokens; words in proportion to bytes
  double loss = 0;                   ///< nats a token
  /// Strided: over windows, as of a ratio of sums. llama.cpp's: over tokens, sqrt(variance / (n - 1)).
  double loss_stderr = 0;
  ScoringWork work;

  double token_perplexity() const;
  double word_perplexity() const;
  double byte_perplexity() const;
  double bits_per_byte() const;
};

/// `settings` are resolved. Errors: those of perplexity_windows and Transformer::run.
template <class W>
PerplexityResult measure_perplexity(Transformer<W>& model, const Tokenizer& tokenizer, const JoinedText& text,
                                    const PerplexitySettings& settings, size_t batch_tokens,
                                    Progress& progress);

nlohmann::json perplexity_json(const PerplexityResult& result);

}  // namespace fathom
