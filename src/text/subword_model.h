#pragma once
// The model of a tokenizer.json: pieces of text to ids.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/json_fields.h"
#include "text/word_cache.h"

namespace fathom {

class SubwordModel {
 public:
  virtual ~SubwordModel() = default;

  /// Appends the ids of one piece (valid UTF-8, not empty).
  virtual void encode(std::string_view piece, WordCache& cache, std::vector<int32_t>& out) const = 0;
  /// Appends the ids of one byte that is no part of valid UTF-8.
  virtual void encode_stray_byte(unsigned char byte, std::vector<int32_t>& out) const = 0;
};

/// Ids and how they are written in the file, by id; "" where an id is not in use.
struct TokenList {
  std::vector<std::string> by_id;
  std::unordered_map<std::string, int32_t> ids;

  /// Errors: Error (without a path) where `id` is taken, or far beyond `expected` entries.
  void add(const std::string& token, int32_t id, size_t expected);
  int32_t find(const std::string& token) const;  ///< or -1
};

/// Reads "model": its tokens into `tokens`. Errors: Error (without a path) naming a type that is not
/// supported, a merge of unknown tokens, a field that is wrong.
std::unique_ptr<const SubwordModel> make_subword_model(const Json& json, bool byte_level, TokenList& tokens);

/// The two kinds of it. Errors: as above.
std::unique_ptr<const SubwordModel> make_bpe_model(const Json& json, bool byte_level, TokenList& tokens);
std::unique_ptr<const SubwordModel> make_unigram_model(const Json& json, bool byte_level, TokenList& tokens);

}  // namespace fathom
