#pragma once
// A tokenizer.model of any layout, run by the SentencePiece library.

#include <filesystem>
#include <string_view>

#include "text/sentencepiece_model.h"
#include "text/text_encoder.h"
#include "text/tokenizer_config.h"

namespace fathom {

/// Builds all parts but files and fingerprint; `bytes` are those that `model` was parsed from. Errors: Error
/// naming `path` where the library refuses it, or its normalization rules are damaged.
TokenizerParts make_sentencepiece_tokenizer(std::string_view bytes, const SentencePieceModel& model,
                                            const TokenizerConfig& config, const std::filesystem::path& path);

}  // namespace fathom
