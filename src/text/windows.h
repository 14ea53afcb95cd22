#pragma once
// Text and token ids as sequences for evaluation and diagnosis: what --text and --token-ids give.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "text/tokenizer.h"

namespace fathom {

/// A sequence of n ids gives n - 1 input positions (the first n - 1) and n - 1 targets (the last n - 1).
using TokenSequences = std::vector<std::vector<int32_t>>;

/// A text as one sequence of ids, without BOS, and what it was made of: all of the documents that were read,
/// also where `max_tokens` cut the last of them.
struct JoinedText {
  std::vector<int32_t> ids;
  uint64_t bytes = 0, words = 0;  ///< words: pieces between white space
};

/// The text of `paths` (as CorpusReader reads them), tokenized by document, the documents joined by EOS.
/// Reading stops after `max_tokens` ids (0: none). Errors: CorpusReader's.
JoinedText join_documents(const Tokenizer& tokenizer, const std::vector<std::filesystem::path>& paths,
                          uint64_t max_tokens = 0);

/// The text of `paths` (as CorpusReader reads them), tokenized by document, the documents joined by EOS and
/// cut into windows of `seq` ids without overlap; the last may be short. Where the tokenizer adds a BOS, one
/// stands before each window, in addition to its ids. Reading stops after `max_tokens` ids (0: none). A last
/// window of one id has no target and is left out. Errors: CorpusReader's; Error where the text gives no
/// target at all.
TokenSequences text_to_windows(const Tokenizer& tokenizer, const std::vector<std::filesystem::path>& paths,
                               size_t seq, uint64_t max_tokens = 0);

/// A JSON array of sequences of ids, such as [[1, 15, 7], [1, 4]]. `vocab_size` 0 leaves the ids' upper end
/// unchecked. Errors: Error (naming the sequence, 0-based) where the file is missing, not such an array, or
/// has a sequence of fewer than two ids or an id outside the vocabulary.
TokenSequences read_token_ids_json(const std::filesystem::path& path, size_t vocab_size = 0);

}  // namespace fathom
