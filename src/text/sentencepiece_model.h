#pragma once
// What a tokenizer.model of SentencePiece says. Field numbers: google/sentencepiece,
// src/sentencepiece_model.proto.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

struct SentencePieceModel {
  enum Type : uint64_t { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };
  enum PieceType : uint64_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };
  struct Piece {
    std::string text;
    float score = 0;
    uint64_t type = kNormal;
  };

  // As the format has them where a field is absent.
  std::vector<Piece> pieces;
  uint64_t type = kUnigram;
  bool byte_fallback = false;
  std::string chars_map;  ///< compiled normalization rules (charsmap.h)
  bool dummy_prefix = true, remove_spaces = true, escape_spaces = true;
};

/// Reads the bytes of a tokenizer.model. Errors: Error naming `path` where they are none, or damaged.
SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const std::filesystem::path& path);

/// The pieces from id 259 on of a model with Fathom's own layout (vocabulary.h); nothing where it has
/// another. Errors: Error naming `path` where it has that layout, but pieces that contradict it.
std::optional<std::vector<std::string>> own_pieces(const SentencePieceModel& model,
                                                   const std::filesystem::path& path);

/// The bytes of a tokenizer.model with Fathom's own layout that holds `pieces`.
std::string format_sentencepiece_model(const std::vector<std::string>& pieces);

}  // namespace fathom
