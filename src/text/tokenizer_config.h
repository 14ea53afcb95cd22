#pragma once
// What stands beside a tokenizer's model in a Hugging Face folder: tokenizer_config.json and
// special_tokens_map.json.

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

  /// Whether `transformers` makes the BOS and EOS around a text from add_bos_token and add_eos_token alone
  /// (as for Llama and Gemma), whatever the post-processor of the tokenizer.json says.
  bool rules_over_template() const;
};

/// Reads the two files of `folder`, as far as they are there. Errors: Error naming the file.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder);
/// From the text of a tokenizer_config.json. Errors: Error without a path.
TokenizerConfig tokenizer_config_of(const Json& json);

/// Names and contents of the tokenizer's files in `folder`, but for `source`. Errors: Error.
TokenizerFiles files_beside(const std::filesystem::path& folder, std::string_view source);

}  // namespace fathom
