#include "text/vocabulary.h"

#include <algorithm>
#include <cstdio>
#include <unordered_map>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "text/text_error.h"
#include "text/utf8.h"

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;  // keeps the vocabulary in the order of its ids

const char* const kOurs = "only tokenizers made by `fathom tokenizer train` can be read";

/// Every way to cut a piece into two pieces is a merge; those of the more important piece come first, and
/// among the cuts of one piece those with the more important left half (the order that `transformers` gives
/// when it converts a Llama).
std::vector<std::string> list_merges(const std::vector<std::string>& pieces) {
  std::unordered_map<std::string_view, size_t> ids;
  for (size_t i = 0; i < pieces.size(); ++i) ids.emplace(pieces[i], i);
  std::vector<std::string> merges;
  std::vector<std::pair<size_t, size_t>> cuts;
  for (const std::string_view piece : pieces) {
    cuts.clear();
    for (size_t at = utf8_char_length(piece); at < piece.size(); at += utf8_char_length(piece.substr(at))) {
      const auto left = ids.find(piece.substr(0, at)), right = ids.find(piece.substr(at));
      if (left != ids.end() && right != ids.end()) cuts.emplace_back(left->second, right->second);
    }
    std::sort(cuts.begin(), cuts.end());
    for (const auto& [left, right] : cuts) merges.push_back(pieces[left] + " " + pieces[right]);
  }
  return merges;
}

Json replace(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

/// Llama 2's, without its space in front of the text.
Json normalizer_json() { return replace(" ", kSpaceSymbol); }
Json decoder_json() {
  return {{"type", "Sequence"},
          {"decoders",
           Json::array({replace(kSpaceSymbol, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}})}};
}

}  // namespace

std::string byte_piece(int byte) {
  char text[8];
  std::snprintf(text, sizeof(text), "<0x%02X>", static_cast<unsigned>(byte) & 0xffu);
  return text;
}

void check_pieces(const std::vector<std::string>& pieces, const std::filesystem::path& path) {
  const std::unordered_set<std::string_view> set(pieces.begin(), pieces.end());
  if (set.size() != pieces.size()) fail_in(path, "a piece stands twice in the vocabulary", kOurs);
  if (set.contains("")) fail_in(path, "a piece is empty", kOurs);
  for (size_t i = 0; i < pieces.size(); ++i) {
    for (std::string_view rest = pieces[i]; !rest.empty();) {
      const size_t length = utf8_char_length(rest);
      if (length == 0 || !set.contains(rest.substr(0, length))) {
        fail_in(path,
                "piece " + std::to_string(kFirstPieceId + i) + " is made of characters that are no pieces",
                kOurs);
      }
      rest.remove_prefix(length);
    }
  }
}

std::string format_tokenizer_json(const std::vector<std::string>& pieces) {
  Json added = Json::array(), vocabulary = Json::object();
  for (int id = 0; id < kFirstByteId; ++id) {
    vocabulary[kSpecialPieces[id]] = id;
    added.push_back({{"id", id},
                     {"content", kSpecialPieces[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  // ordered_json looks a key up by scanning, so a big object is filled from the back without looking.
  auto& entries = vocabulary.get_ref<Json::object_t&>();
  for (int byte = 0; byte < 256; ++byte) entries.emplace_back(byte_piece(byte), kFirstByteId + byte);
  for (size_t i = 0; i < pieces.size(); ++i) entries.emplace_back(pieces[i], kFirstPieceId + i);
  Json file = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", std::move(added)},
               {"normalizer", normalizer_json()},
               {"pre_tokenizer", nullptr},
               {"post_processor", nullptr},
               {"decoder", decoder_json()},
               {"model",
                {{"type", "BPE"},
                 {"dropout", nullptr},
                 {"unk_token", kSpecialPieces[kUnkId]},
                 {"continuing_subword_prefix", nullptr},
                 {"end_of_word_suffix", nullptr},
                 {"fuse_unk", true},
                 {"byte_fallback", true},
                 {"ignore_merges", false}}}};
  file["model"]["vocab"] = std::move(vocabulary);
  file["model"]["merges"] = list_merges(pieces);
  return file.dump(1) + "\n";
}

std::vector<std::string> parse_tokenizer_json(std::string_view text, const std::filesystem::path& path) {
  std::vector<std::string> by_id;
  try {
    const nlohmann::json file = nlohmann::json::parse(text);
    const nlohmann::json& model = file.at("model");
    if (model.at("type") != "BPE" || !model.at("byte_fallback").get<bool>() ||
        file.at("normalizer") != nlohmann::json(normalizer_json()) || !file.at("pre_tokenizer").is_null()) {
      fail_in(path, "is not a BPE tokenizer with byte fallback and without normalization", kOurs);
    }
    const nlohmann::json& vocabulary = model.at("vocab");
    by_id.resize(vocabulary.size());
    for (const auto& [piece, id] : vocabulary.items()) {
      const uint64_t at = id.get<uint64_t>();
      if (at >= by_id.size() || !by_id[at].empty())
        fail_in(path, "the ids are not 0 to n - 1, each once", kOurs);
      by_id[at] = piece;
    }
  } catch (const nlohmann::json::exception& e) {
    fail_in(path, std::string("is not a tokenizer.json: ") + std::string(e.what()).substr(0, 120), kOurs);
  }
  bool ours = by_id.size() >= kFirstPieceId;
  for (int id = 0; ours && id < kFirstByteId; ++id) ours = by_id[id] == kSpecialPieces[id];
  for (int byte = 0; ours && byte < 256; ++byte) ours = by_id[kFirstByteId + byte] == byte_piece(byte);
  if (!ours) fail_in(path, "does not start with <unk>, <s>, </s> and the 256 bytes", kOurs);
  by_id.erase(by_id.begin(), by_id.begin() + kFirstPieceId);
  check_pieces(by_id, path);
  return by_id;
}

}  // namespace fathom
