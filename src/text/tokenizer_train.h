#pragma once
// Learns a vocabulary from text: SentencePiece's BPE trainer with byte fallback, no normalization, single
// digits, spaces kept. Lines are the unit: a line feed or a tab is never part of a piece (it becomes a byte
// token), as in Llama 2.

#include <cstdint>

#include "core/progress.h"
#include "text/corpus.h"
#include "text/tokenizer.h"

namespace fathom {

struct TokenizerTrainOptions {
  size_t vocab_size = 32000;  ///< with the 259 special and byte tokens
  /// Lines are drawn from the corpus up to this many bytes, each with the same chance, as `seed` decides. The
  /// trainer needs some ten times as much memory.
  size_t sample_bytes = size_t{64} << 20;
  uint64_t seed = 0;
  /// Share of the sample's characters that get a piece of their own; the rare rest is written as bytes.
  double character_coverage = 0.9999;
};

struct TokenizerTrainResult {
  Tokenizer tokenizer;
  uint64_t documents = 0, bytes = 0;            ///< of the corpus
  uint64_t sample_lines = 0, sample_bytes = 0;  ///< of what was learned from
};

/// Reads the whole corpus once. Errors: those of CorpusReader; Error where the vocabulary is smaller than its
/// characters need or larger than the text can fill.
TokenizerTrainResult train_tokenizer(CorpusReader& corpus, const TokenizerTrainOptions& options,
                                     Progress& progress);

}  // namespace fathom
