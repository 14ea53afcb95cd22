#pragma once
// The vocabulary of a Fathom tokenizer, and its tokenizer.json (its tokenizer.model: sentencepiece_model.h).
//
// The layout is that of Llama 2: 0 <unk>, 1 <s>, 2 </s>, 3 to 258 the bytes <0x00> to <0xFF>, then the pieces
// of a byte-pair encoding in the order of their merges, most important first, with every single character
// that a piece is made of. A piece writes a space as U+2581, as SentencePiece does. So an id is a piece's
// rank as well, and the list of pieces is all that there is to know. Files with another layout are read by
// hf_tokenizer.h and sentencepiece_encoder.h.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace fathom {

inline constexpr int32_t kUnkId = 0, kBosId = 1, kEosId = 2, kFirstByteId = 3, kFirstPieceId = 259;
inline constexpr std::string_view kSpaceSymbol = "\xe2\x96\x81";  // U+2581
inline constexpr const char* kSpecialPieces[] = {"<unk>", "<s>", "</s>"};

/// "<0x0A>" for 10.
std::string byte_piece(int byte);

/// Checks that `pieces` (those from id 259 on) are valid UTF-8, distinct and not empty, and that each of
/// their characters is a piece too. Errors: Error naming `path`.
void check_pieces(const std::vector<std::string>& pieces, const std::filesystem::path& path);

/// Pieces of a tokenizer.json with the layout above, such as format_tokenizer_json writes; nothing where it
/// has another. Errors: Error naming `path` where it has that layout, but pieces that contradict it.
std::optional<std::vector<std::string>> own_pieces(const nlohmann::json& file,
                                                   const std::filesystem::path& path);

/// A tokenizer.json (the format of Hugging Face's `tokenizers`) that gives the same ids.
std::string format_tokenizer_json(const std::vector<std::string>& pieces);

}  // namespace fathom
