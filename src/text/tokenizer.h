#pragma once
// Text to token ids and back.
//
// Fathom's own tokenizers (vocabulary.h) and other people's: a Hugging Face tokenizer.json (hf_tokenizer.h),
// a SentencePiece tokenizer.model (sentencepiece_encoder.h), the vocabulary of a GGUF file
// (gguf_vocabulary.h).
//
// Goals: the ids of the library that a tokenizer was made for; for our own, decode(encode(x)) == x for every
// string, valid UTF-8 or not, and files that Hugging Face `transformers`, SentencePiece and llama.cpp open.
// Non-goals: training other kinds, offsets, truncation and padding.
//
// Where our own tokenizers' ids are not SentencePiece's: a U+2581 in the text becomes its three bytes, while
// SentencePiece takes it for a space and so loses it; and bytes that are not UTF-8 become byte tokens, while
// SentencePiece puts U+FFFD there.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"

namespace fathom {

struct GgufVocabulary;
struct TokenizerParts;

/// Cheap to copy; every member may be called by several threads at once.
class Tokenizer {
 public:
  /// `pieces` as in vocabulary.h: those from id 259 on, checked by the caller.
  explicit Tokenizer(std::vector<std::string> pieces, bool add_bos = false);

  /// Reads a folder, or one file of it. In a folder a tokenizer.model of Fathom's own layout comes first,
  /// then the tokenizer.json, then any tokenizer.model; tokenizer_config.json and special_tokens_map.json say
  /// what stands around a text, as `transformers` reads them. Errors: Error where the path is missing, the
  /// tokenizer is damaged, or it asks for something that is not supported (which is named).
  static Tokenizer load(const std::filesystem::path& path);
  /// The vocabulary of a GGUF file; `path` is for messages. Errors: as gguf_tokenizer_files.
  static Tokenizer from_gguf(const GgufVocabulary& vocabulary, const std::filesystem::path& path);

  /// Writes tokenizer.model, tokenizer.json, tokenizer_config.json and special_tokens_map.json into an
  /// existing folder; of a tokenizer that was loaded, the files that it was loaded from. Errors: Error.
  void save(const std::filesystem::path& folder) const;
  /// Writes the tokenizer.model alone, under the given name. Errors: Error where this tokenizer has none.
  void save_model(const std::filesystem::path& path) const;

  /// Ids of `text`: no BOS, no EOS. The names of special tokens ("</s>", "<|im_end|>") in it are text like
  /// any other, or stand for the tokens. Errors: Error where a pattern of the tokenizer gives up on the text.
  std::vector<int32_t> encode(std::string_view text, SpecialTokens special = SpecialTokens::kText) const;
  /// Ids of each text, on all threads.
  std::vector<std::vector<int32_t>> encode_batch(std::span<const std::string> texts,
                                                 SpecialTokens special = SpecialTokens::kText) const;

  /// The text of `ids`: the bytes of each, less the first space where encoding puts one in front; special
  /// tokens stand for nothing. Errors: Error for an id outside the vocabulary.
  std::string decode(std::span<const int32_t> ids) const;
  /// The bytes that one id stands for (a part of a character, perhaps). Errors: as decode.
  std::string_view bytes_of(int32_t id) const;

  size_t vocab_size() const;  ///< the largest id and one
  int32_t bos_id() const;     ///< -1 where there is none
  int32_t eos_id() const;     ///< -1 where there is none
  /// eos_id(), for what needs one between documents. Errors: Error where there is none.
  int32_t required_eos_id() const;
  /// Whether a BOS belongs in front of each sequence, and an EOS behind it.
  bool add_bos() const;
  bool add_eos() const;
  /// A hash of the vocabulary: tokenizers with the same fingerprint give the same ids.
  uint64_t fingerprint() const;

 private:
  struct State;
  explicit Tokenizer(TokenizerParts parts);
  std::shared_ptr<const State> state_;
};

/// A fingerprint as people and JSON see it: 16 hexadecimal digits.
std::string fingerprint_text(uint64_t fingerprint);

}  // namespace fathom
