#pragma once
// What stands beside a tokenizer's model in a Hugging Face folder: tokenizer_config.json,
// special_tokens_map.json and added_tokens.json.

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/json_fields.h"
#include "text/text_encoder.h"

namespace fathom {

struct TokenizerConfig {
  std::string tokenizer_class;       ///< "" where unknown
  std::string bos_token, eos_token;  ///< "" where unknown
  std::optional<bool> add_bos, add_eos;
  std::vector<AddedToken> added;  ///< added_tokens_decoder, added_tokens.json; by id

  /// Whether `transformers` makes the BOS and EOS around a text from add_bos_token and add_eos_token alone
  /// (as for Llama and Gemma), whatever the post-processor of the tokenizer.json says.
  bool rules_over_template() const;
};

/// Whether a file of this name, perhaps unfinished, belongs to a tokenizer.
bool is_tokenizer_file(std::string_view name);

/// Reads the files of `folder`, as far as they are there. Errors: Error naming the file.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder);
/// From the text of a tokenizer_config.json. Errors: Error without a path.
TokenizerConfig tokenizer_config_of(const Json& json);

/// Names and contents of the tokenizer's files in `folder`, but for `source`. Errors: Error.
TokenizerFiles files_beside(const std::filesystem::path& folder, std::string_view source);

}  // namespace fathom
