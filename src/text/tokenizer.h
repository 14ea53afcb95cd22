#pragma once
// Text to token ids and back.
//
// Goals: decode(encode(x)) == x for every string, valid UTF-8 or not; SentencePiece's ids; files that Hugging
// Face `transformers`, SentencePiece and llama.cpp open. Non-goals: other people's vocabularies, for now
// (vocabulary.h).
//
// Where the ids are not SentencePiece's: a U+2581 in the text becomes its three bytes, while SentencePiece
// takes it for a space and so loses it; and bytes that are not UTF-8 become byte tokens, while SentencePiece
// puts U+FFFD there. `transformers` reads "<s>", "</s>" and "<unk>" in a text as the special tokens (unless
// split_special_tokens); here a text is only ever text.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// Cheap to copy; every member may be called by several threads at once.
class Tokenizer {
 public:
  /// `pieces` as in vocabulary.h: those from id 259 on, checked by the caller.
  explicit Tokenizer(std::vector<std::string> pieces, bool add_bos = false);

  /// Reads a folder (its tokenizer.model, else its tokenizer.json; add_bos_token of its
  /// tokenizer_config.json), or one of these two files. Errors: Error where the path is missing, or the
  /// tokenizer is damaged or another's.
  static Tokenizer load(const std::filesystem::path& path);

  /// Writes tokenizer.model, tokenizer.json, tokenizer_config.json and special_tokens_map.json into an
  /// existing folder. Errors: Error.
  void save(const std::filesystem::path& folder) const;
  /// Writes the tokenizer.model alone, under the given name.
  void save_model(const std::filesystem::path& path) const;

  /// Ids of `text`: no BOS, no EOS.
  std::vector<int32_t> encode(std::string_view text) const;
  /// Ids of each text, on all threads.
  std::vector<std::vector<int32_t>> encode_batch(std::span<const std::string> texts) const;

  /// The text of `ids`; BOS, EOS and <unk> stand for nothing. Errors: Error for an id outside the vocabulary.
  std::string decode(std::span<const int32_t> ids) const;
  /// The bytes that one id stands for (a part of a character, perhaps). decode is their concatenation.
  /// Errors: as decode.
  std::string_view bytes_of(int32_t id) const;

  size_t vocab_size() const;
  int32_t bos_id() const;
  int32_t eos_id() const;
  /// Whether the tokenizer's config asks for a BOS in front of each sequence.
  bool add_bos() const;
  /// A hash of the vocabulary: tokenizers with the same fingerprint give the same ids.
  uint64_t fingerprint() const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

/// A fingerprint as people and JSON see it: 16 hexadecimal digits.
std::string fingerprint_text(uint64_t fingerprint);

}  // namespace fathom
