#pragma once
// The vocabulary inside a GGUF file, as the keys tokenizer.ggml.* give it. It becomes the tokenizer.json that
// the model was converted from, as far as a GGUF still tells: its pre-tokenizer is known by name only. Names
// and token types: ggml-org/llama.cpp, src/llama-vocab.cpp; gguf-py/gguf/constants.py.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "text/json_fields.h"

namespace fathom {

/// Filled by whoever reads the file; `tokens` may be moved in.
struct GgufVocabulary {
  std::string model;  ///< tokenizer.ggml.model: "gpt2" (byte-level BPE) or "llama" (SentencePiece BPE)
  std::string pre;    ///< tokenizer.ggml.pre; "" where absent
  std::vector<std::string> tokens;  ///< by id
  std::vector<float> scores;        ///< by id; for "llama"
  std::vector<int32_t>
      token_types;  ///< by id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; may be empty
  std::vector<std::string> merges;                         ///< "left right", most important first; for "gpt2"
  int32_t bos = -1, eos = -1, unknown = -1, padding = -1;  ///< ids; -1 where absent
  bool add_bos = false, add_eos = false, add_space_prefix = true;
  std::string chat_template = {};  ///< Jinja; "" where absent
};

/// The two files that a folder of this tokenizer would hold. Errors: Error naming `path` (of the GGUF): a
/// model or a pre-tokenizer that is not known (with the list of those that are), lists of different lengths,
/// ids outside of them.
struct GgufTokenizerFiles {
  Json tokenizer, config;
};
GgufTokenizerFiles gguf_tokenizer_files(const GgufVocabulary& vocabulary, const std::filesystem::path& path);

/// The other way: the vocabulary for a GGUF file of the tokenizer in a Hugging Face folder, with unused
/// tokens up to `vocab_size`, the model's. The scores of a SentencePiece-like one are the ranks of its
/// merges, which give the same ids. What was made is read back, and must give the tokenizer's own ids on a
/// text of many scripts. Errors: those of Tokenizer::load; Error: a kind, or a pre-tokenizer, that no name
/// stands for; more tokens than `vocab_size`.
GgufVocabulary gguf_vocabulary_of(const std::filesystem::path& folder, size_t vocab_size);

/// The name of a byte-level tokenizer's pre-tokenizer (tokenizer.ggml.pre). Errors: Error where none is
/// known.
std::string gguf_pre_tokenizer_name(const Json& tokenizer);
std::vector<std::string_view> gguf_pre_tokenizer_names();

/// Whether a text of a "gpt2" vocabulary with this pre-tokenizer begins with BOS where the file does not say:
/// Llama 3's and Tekken's do.
bool gguf_pre_tokenizer_adds_bos(const std::string& name);

/// The normalizer and pre-tokenizer that a name stands for, as {"normalizer", "pre_tokenizer",
/// "ignore_merges"}. Errors: Error naming `path`, with the names that are known.
Json gguf_pre_tokenizer(const std::string& name, const std::filesystem::path& path);

}  // namespace fathom
