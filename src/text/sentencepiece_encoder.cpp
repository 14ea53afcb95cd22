#include "text/sentencepiece_encoder.h"

#include <algorithm>

#include <sentencepiece_processor.h>

#include "text/charsmap.h"
#include "text/text_error.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

using PieceType = SentencePieceModel::PieceType;

class SentencePieceEncoder final : public TextEncoder {
 public:
  SentencePieceEncoder(std::string_view bytes, const SentencePieceModel& model, std::vector<AddedToken> added,
                       const std::filesystem::path& path) {
    plain_text_has_tokens_ =
        std::any_of(added.begin(), added.end(), [](const AddedToken& t) { return !t.special; });
    for (AddedToken& control : control_tokens(model)) added.push_back(std::move(control));
    tokens_ = AddedTokenFinder(std::move(added));
    const auto status = processor_.LoadFromSerializedProto(bytes);
    if (!status.ok())
      fail_in(path, "SentencePiece refuses it: " + std::string(status.message()), "download it again");
  }

  void encode(std::string_view text, SpecialTokens special, EncodeWorkspace&,
              std::vector<int32_t>& out) const override {
    std::vector<int> ids;
    const auto encode_plain = [&](std::string_view part) {
      const auto status = processor_.Encode(part, &ids);
      if (!status.ok()) fail("SentencePiece cannot encode the text: " + std::string(status.message()));
      out.insert(out.end(), ids.begin(), ids.end());
    };
    if (special == SpecialTokens::kText && !plain_text_has_tokens_) return encode_plain(text);
    for (const TextPart& part : tokens_.split(text, special)) {
      if (part.id != TextPart::kNone)
        out.push_back(part.id);
      else
        encode_plain(text.substr(part.begin, part.end - part.begin));
    }
  }

  const sentencepiece::SentencePieceProcessor& processor() const { return processor_; }

 private:
  static std::vector<AddedToken> control_tokens(const SentencePieceModel& model) {
    std::vector<AddedToken> tokens;
    for (size_t id = 0; id < model.pieces.size(); ++id) {
      const auto& piece = model.pieces[id];
      if (piece.type == PieceType::kControl && !piece.text.empty())
        tokens.push_back({.content = piece.text, .id = static_cast<int32_t>(id), .special = true});
    }
    return tokens;
  }

  sentencepiece::SentencePieceProcessor processor_;
  AddedTokenFinder tokens_;
  bool plain_text_has_tokens_;
};

std::string text_of(const SentencePieceModel::Piece& piece, const std::filesystem::path& path) {
  switch (piece.type) {
    case PieceType::kUnknown:
    case PieceType::kControl:
      return {};
    case PieceType::kByte:
      for (int byte = 0; byte < 256; ++byte) {
        if (piece.text == byte_piece(byte)) return std::string(1, static_cast<char>(byte));
      }
      fail_in(path, "has the byte piece '" + piece.text + "'", "download it again");
    default: {
      std::string text = piece.text;
      for (size_t at; (at = text.find(kSpaceSymbol)) != std::string::npos;)
        text.replace(at, kSpaceSymbol.size(), " ");
      return text;
    }
  }
}

int32_t id_named(const std::string& name, int fallback, const SentencePieceModel& model) {
  for (size_t id = 0; id < model.pieces.size() && !name.empty(); ++id) {
    if (model.pieces[id].text == name) return static_cast<int32_t>(id);
  }
  return fallback;
}

/// Of the tokens that the other files name, those that the model lacks; their texts are appended to `texts`.
std::vector<AddedToken> tokens_beside(const SentencePieceModel& model, const TokenizerConfig& config,
                                      const std::filesystem::path& path, std::vector<std::string>& texts) {
  std::vector<AddedToken> beside;
  const size_t pieces = model.pieces.size(), most = pieces + config.added.size();
  for (const AddedToken& token : config.added) {
    const auto id = static_cast<size_t>(token.id);
    if (id < pieces && model.pieces[id].text == token.content) continue;
    if (id < pieces || id >= most) {
      fail_in(path,
              "has " + std::to_string(pieces) + " pieces, and the files beside it add '" + token.content +
                  "' with the id " + std::to_string(id),
              "is it the tokenizer.model of these files?");
    }
    if (texts.size() <= id) texts.resize(id + 1);
    texts[id] = token.special ? std::string() : token.content;
    beside.push_back(token);
  }
  return beside;
}

/// The library follows the rules' trie without looking where it leads.
void check_chars_map(const SentencePieceModel& model, const std::filesystem::path& path) {
  try {
    if (!model.chars_map.empty()) CharsMap{model.chars_map};
  } catch (const Error& e) {
    fail_in(path, e.fields().what, "download it again");
  }
}

}  // namespace

TokenizerParts make_sentencepiece_tokenizer(std::string_view bytes, const SentencePieceModel& model,
                                            const TokenizerConfig& config,
                                            const std::filesystem::path& path) {
  check_chars_map(model, path);
  TokenizerParts parts;
  for (const auto& piece : model.pieces) parts.texts.push_back(text_of(piece, path));
  auto encoder = std::make_unique<SentencePieceEncoder>(
      bytes, model, tokens_beside(model, config, path, parts.texts), path);
  const auto& processor = encoder->processor();
  parts.bos_id = id_named(config.bos_token, processor.bos_id(), model);
  parts.eos_id = id_named(config.eos_token, processor.eos_id(), model);
  const bool t5 = config.tokenizer_class.starts_with("T5") || config.tokenizer_class.starts_with("MT5");
  parts.add_bos = parts.bos_id >= 0 && config.add_bos.value_or(config.rules_over_template());
  parts.add_eos = parts.eos_id >= 0 && config.add_eos.value_or(t5);
  parts.drops_first_space = model.dummy_prefix;
  parts.encoder = std::move(encoder);
  return parts;
}

}  // namespace fathom
