#pragma once
// A tokenizer.json of Hugging Face `tokenizers`, run as that library runs it (its version 0.21): added
// tokens, the normalizer, the pre-tokenizer, the model. A construct that is not supported is refused by its
// name, never skipped.
//
// Bytes that are not UTF-8, which that library can't be given, become tokens of their own: a byte's where the
// vocabulary has one, else <unk>.

#include <filesystem>

#include "text/json_fields.h"
#include "text/text_encoder.h"
#include "text/tokenizer_config.h"

namespace fathom {

/// Builds all parts but files and fingerprint. `path` is for messages. Errors: Error naming `path`.
TokenizerParts make_hf_tokenizer(const Json& json, const TokenizerConfig& config,
                                 const std::filesystem::path& path);

/// The JSON in `text`. Errors: Error naming `path`.
Json parse_tokenizer_json(std::string_view text, const std::filesystem::path& path);

}  // namespace fathom
