// tokenizer.model: SentencePiece's ModelProto, read and written by hand, since the Debian package has no
// header for it. Field numbers: google/sentencepiece, src/sentencepiece_model.proto. Wire format:
// protobuf.dev/programming-guides/encoding.

#include <bit>
#include <cstring>

#include "text/sentencepiece_model.h"
#include "text/text_error.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

enum ModelField { kPieces = 1, kTrainerSpec = 2, kNormalizerSpec = 3 };
enum PieceField { kPiece = 1, kScore = 2, kType = 3 };
using enum SentencePieceModel::PieceType;
enum TrainerField {
  kModelType = 3,
  kVocabSize = 4,
  kSplitDigits = 25,
  kAllowWhitespaceOnly = 26,
  kByteFallback = 35
};
enum NormalizerField { kName = 1, kCharsMap = 2, kDummyPrefix = 3, kRemoveSpaces = 4, kEscapeSpaces = 5 };
constexpr const char* kGiveModel = "give a tokenizer.model, or the folder that holds it";
enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

/// Walks over the fields of one message. Every length is checked against what is left.
class ProtoReader {
 public:
  ProtoReader(std::string_view message, const std::filesystem::path& path) : rest_(message), path_(path) {}

  /// Moves to the next field; false at the end.
  bool next() {
    if (rest_.empty()) return false;
    const uint64_t key = varint();
    field_ = key >> 3;
    switch (key & 7) {
      case kVarint:
        value_ = varint();
        break;
      case kFixed64:
        bytes_ = take(8);
        break;
      case kBytes:
        bytes_ = take(varint());
        break;
      case kFixed32:
        bytes_ = take(4);
        break;
      default:
        damaged();
    }
    return true;
  }
  uint64_t field() const { return field_; }
  uint64_t value() const { return value_; }          ///< of a varint
  std::string_view bytes() const { return bytes_; }  ///< of any other

 private:
  [[noreturn]] void damaged() const {
    fail_in(path_, "is not a SentencePiece model, or damaged", kGiveModel);
  }
  std::string_view take(uint64_t n) {
    if (n > rest_.size()) damaged();
    const std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    damaged();
  }

  std::string_view rest_, bytes_;
  const std::filesystem::path& path_;
  uint64_t field_ = 0, value_ = 0;
};

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}
void put_number(std::string& out, int field, uint64_t value) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | kVarint);
  put_varint(out, value);
}
void put_bytes(std::string& out, int field, std::string_view bytes) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}
void put_float(std::string& out, int field, float value) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | kFixed32);
  const auto bits = std::bit_cast<uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(bits >> shift));
}

float float_of(std::string_view bytes) {
  uint32_t bits = 0;
  for (size_t i = 0; i < bytes.size() && i < 4; ++i)
    bits |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << 8 * i;
  return std::bit_cast<float>(bits);
}

SentencePieceModel::Piece parse_piece(std::string_view message, const std::filesystem::path& path) {
  SentencePieceModel::Piece piece;
  for (ProtoReader in(message, path); in.next();) {
    if (in.field() == kPiece) piece.text = in.bytes();
    if (in.field() == kScore) piece.score = float_of(in.bytes());
    if (in.field() == kType) piece.type = in.value();
  }
  return piece;
}

void parse_trainer(std::string_view message, const std::filesystem::path& path, SentencePieceModel& model) {
  for (ProtoReader in(message, path); in.next();) {
    if (in.field() == kModelType) model.type = in.value();
    if (in.field() == kByteFallback) model.byte_fallback = in.value() != 0;
  }
}

void parse_normalizer(std::string_view message, const std::filesystem::path& path,
                      SentencePieceModel& model) {
  for (ProtoReader in(message, path); in.next();) {
    if (in.field() == kCharsMap) model.chars_map = in.bytes();
    if (in.field() == kDummyPrefix) model.dummy_prefix = in.value() != 0;
    if (in.field() == kRemoveSpaces) model.remove_spaces = in.value() != 0;
    if (in.field() == kEscapeSpaces) model.escape_spaces = in.value() != 0;
  }
}

bool has_our_layout(const std::vector<SentencePieceModel::Piece>& pieces) {
  if (pieces.size() < kFirstPieceId) return false;
  for (int id = 0; id < kFirstByteId; ++id) {
    if (pieces[id].text != kSpecialPieces[id] || pieces[id].type != (id == kUnkId ? kUnknown : kControl))
      return false;
  }
  for (int byte = 0; byte < 256; ++byte) {
    const SentencePieceModel::Piece& piece = pieces[kFirstByteId + byte];
    if (piece.text != byte_piece(byte) || piece.type != kByte) return false;
  }
  for (size_t id = kFirstPieceId; id < pieces.size(); ++id) {
    if (pieces[id].type != kNormal) return false;
    if (id > kFirstPieceId && !(pieces[id].score < pieces[id - 1].score)) return false;
  }
  return true;
}

std::string format_piece(std::string_view text, float score, uint64_t type) {
  std::string out;
  put_bytes(out, kPiece, text);
  put_float(out, kScore, score);
  if (type != kNormal) put_number(out, kType, type);
  return out;
}

}  // namespace

SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const std::filesystem::path& path) {
  SentencePieceModel model;
  for (ProtoReader in(bytes, path); in.next();) {
    if (in.field() == kPieces) model.pieces.push_back(parse_piece(in.bytes(), path));
    if (in.field() == kTrainerSpec) parse_trainer(in.bytes(), path, model);
    if (in.field() == kNormalizerSpec) parse_normalizer(in.bytes(), path, model);
  }
  if (model.pieces.empty())
    fail_in(path, "is not a SentencePiece model, or damaged: it holds no pieces", kGiveModel);
  return model;
}

std::optional<std::vector<std::string>> own_pieces(const SentencePieceModel& model,
                                                   const std::filesystem::path& path) {
  const bool plain_text =
      model.chars_map.empty() && !model.dummy_prefix && !model.remove_spaces && model.escape_spaces;
  if (model.type != SentencePieceModel::kBpe || !model.byte_fallback || !plain_text ||
      !has_our_layout(model.pieces))
    return std::nullopt;
  std::vector<std::string> texts;
  for (size_t id = kFirstPieceId; id < model.pieces.size(); ++id) texts.push_back(model.pieces[id].text);
  check_pieces(texts, path);
  return texts;
}

std::string format_sentencepiece_model(const std::vector<std::string>& pieces) {
  std::string out;
  for (int id = 0; id < kFirstByteId; ++id) {
    put_bytes(out, kPieces, format_piece(kSpecialPieces[id], 0, id == kUnkId ? kUnknown : kControl));
  }
  for (int byte = 0; byte < 256; ++byte) put_bytes(out, kPieces, format_piece(byte_piece(byte), 0, kByte));
  for (size_t i = 0; i < pieces.size(); ++i) {
    put_bytes(out, kPieces, format_piece(pieces[i], -static_cast<float>(i), kNormal));
  }
  std::string trainer;
  put_number(trainer, kModelType, SentencePieceModel::kBpe);
  put_number(trainer, kVocabSize, kFirstPieceId + pieces.size());
  put_number(trainer, kSplitDigits, 1);
  put_number(trainer, kAllowWhitespaceOnly, 1);
  put_number(trainer, kByteFallback, 1);
  put_bytes(out, kTrainerSpec, trainer);
  std::string normalizer;
  put_bytes(normalizer, kName, "identity");
  put_number(normalizer, kDummyPrefix, 0);
  put_number(normalizer, kRemoveSpaces, 0);
  put_number(normalizer, kEscapeSpaces, 1);
  put_bytes(out, kNormalizerSpec, normalizer);
  return out;
}

}  // namespace fathom
