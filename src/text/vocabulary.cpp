#include "text/vocabulary.h"

#include <algorithm>
#include <cstdio>
#include <unordered_map>
#include <unordered_set>

#include "text/json_fields.h"
#include "text/text_error.h"
#include "text/utf8.h"

namespace fathom {
namespace {

using OrderedJson = nlohmann::ordered_json;  // keeps the vocabulary in the order of its ids

const char* const kDamaged = "make it again with `fathom tokenizer train`";

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

OrderedJson replace(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

/// Llama 2's, without its space in front of the text.
OrderedJson normalizer_json() { return replace(" ", kSpaceSymbol); }
OrderedJson decoder_json() {
  return {{"type", "Sequence"},
          {"decoders",
           OrderedJson::array({replace(kSpaceSymbol, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}})}};
}

OrderedJson added_tokens_json() {
  OrderedJson added = OrderedJson::array();
  for (int id = 0; id < kFirstByteId; ++id) {
    added.push_back({{"id", id},
                     {"content", kSpecialPieces[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  return added;
}

}  // namespace

std::string byte_piece(int byte) {
  char text[8];
  std::snprintf(text, sizeof(text), "<0x%02X>", static_cast<unsigned>(byte) & 0xffu);
  return text;
}

void check_pieces(const std::vector<std::string>& pieces, const std::filesystem::path& path) {
  const std::unordered_set<std::string_view> set(pieces.begin(), pieces.end());
  if (set.size() != pieces.size()) fail_in(path, "a piece stands twice in the vocabulary", kDamaged);
  if (set.contains("")) fail_in(path, "a piece is empty", kDamaged);
  for (size_t i = 0; i < pieces.size(); ++i) {
    for (std::string_view rest = pieces[i]; !rest.empty();) {
      const size_t length = utf8_char_length(rest);
      if (length == 0 || !set.contains(rest.substr(0, length))) {
        fail_in(path,
                "piece " + std::to_string(kFirstPieceId + i) + " is made of characters that are no pieces",
                kDamaged);
      }
      rest.remove_prefix(length);
    }
  }
}

std::string format_tokenizer_json(const std::vector<std::string>& pieces) {
  OrderedJson vocabulary = OrderedJson::object();
  for (int id = 0; id < kFirstByteId; ++id) vocabulary[kSpecialPieces[id]] = id;
  // ordered_json looks a key up by scanning, so a big object is filled from the back without looking.
  auto& entries = vocabulary.get_ref<OrderedJson::object_t&>();
  for (int byte = 0; byte < 256; ++byte) entries.emplace_back(byte_piece(byte), kFirstByteId + byte);
  for (size_t i = 0; i < pieces.size(); ++i) entries.emplace_back(pieces[i], kFirstPieceId + i);
  OrderedJson file = {{"version", "1.0"},
                      {"truncation", nullptr},
                      {"padding", nullptr},
                      {"added_tokens", added_tokens_json()},
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

std::optional<std::vector<std::string>> own_pieces(const Json& file, const std::filesystem::path& path) {
  const Json* const model = field(file, "model");
  const Json* const vocabulary = model ? field(*model, "vocab") : nullptr;
  const Json* const normalizer = field(file, "normalizer");
  if (!vocabulary || !vocabulary->is_object() || vocabulary->size() < kFirstPieceId || !normalizer ||
      *normalizer != Json(normalizer_json()) || field(file, "pre_tokenizer") ||
      field(file, "post_processor") || string_field(*model, "type", "") != "BPE" ||
      !bool_field(*model, "byte_fallback", false))
    return std::nullopt;
  std::vector<std::string> by_id(vocabulary->size());
  for (const auto& [piece, id] : vocabulary->items()) {
    const uint64_t at = id.is_number_unsigned() ? id.get<uint64_t>() : by_id.size();
    if (at >= by_id.size() || !by_id[at].empty()) return std::nullopt;
    by_id[at] = piece;
  }
  for (int id = 0; id < kFirstByteId; ++id) {
    if (by_id[id] != kSpecialPieces[id]) return std::nullopt;
  }
  for (int byte = 0; byte < 256; ++byte) {
    if (by_id[kFirstByteId + byte] != byte_piece(byte)) return std::nullopt;
  }
  by_id.erase(by_id.begin(), by_id.begin() + kFirstPieceId);
  const Json* const merges = field(*model, "merges");
  if (!merges || *merges != Json(list_merges(by_id))) return std::nullopt;  // ids are not ranks
  const Json* const added = field(file, "added_tokens");
  if (!added || *added != Json(added_tokens_json())) return std::nullopt;
  check_pieces(by_id, path);
  return by_id;
}

}  // namespace fathom
