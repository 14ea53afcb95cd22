// The BPE model of a tokenizer.json (tokenizers, models/bpe/model.rs): over bytes behind a ByteLevel
// pre-tokenizer, over characters otherwise, with bytes or <unk> for those that the vocabulary lacks.

#include <algorithm>
#include <array>
#include <bitset>

#include "text/byte_alphabet.h"
#include "text/id_table.h"
#include "text/merges.h"
#include "text/subword_model.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

constexpr int32_t kAbsent = -1;

struct StringMerge {
  std::string left, right;
};

/// "a b" or ["a", "b"].
StringMerge merge_of(const Json& json, size_t index) {
  if (json.is_array() && json.size() == 2 && json[0].is_string() && json[1].is_string())
    return {json[0].get<std::string>(), json[1].get<std::string>()};
  if (json.is_string()) {
    const auto& text = json.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos)
      return {text.substr(0, space), text.substr(space + 1)};
  }
  fail("merge " + std::to_string(index) + " is not two tokens: " + brief(json));
}

/// Which characters some merge joins. Between two that none does, a text may be cut without changing an id.
/// Rare characters share a row, which only costs cuts.
class Joins {
 public:
  void add(std::string_view left, std::string_view right) {
    bits_[row(first_code_point(left.substr(last_character(left))).value)].set(
        row(first_code_point(right).value));
  }
  bool joined(uint32_t left, uint32_t right) const { return bits_[row(left)][row(right)]; }

 private:
  static constexpr size_t kRows = 1024;  // 128 KiB
  static size_t row(uint32_t c) { return c < 128 ? c : 128 + mix64(c) % (kRows - 128); }
  std::vector<std::bitset<kRows>> bits_ = std::vector<std::bitset<kRows>>(kRows);
};

class BpeModel final : public SubwordModel {
 public:
  BpeModel(const Json& json, bool byte_level, const TokenList& tokens) : byte_level_(byte_level) {
    bytes_.fill(kAbsent);
    read_settings(json, tokens);
    read_symbols(tokens);
    read_merges(array_field(json, "merges"), tokens);
    // What is dropped or fused may bring characters together that do not stand side by side in the text.
    const bool nothing_unknown =
        !byte_level_ && byte_fallback_ && std::count(bytes_.begin(), bytes_.end(), kAbsent) == 0;
    cuts_ = !byte_level_ && !ignore_merges_ && !merges_bytes_ &&
            (nothing_unknown || (unk_ != kAbsent && !fuse_unk_));
  }

  void encode(std::string_view piece, WordCache& cache, std::vector<int32_t>& out) const override {
    const auto encode_whole = [this](std::string_view part, std::vector<int32_t>& ids) {
      encode_part(part, ids);
    };
    if (!cuts_) return cache.encode(piece, out, encode_whole);
    size_t begin = 0;
    CodePoint last = first_code_point(piece);
    for (size_t at = last.length; at < piece.size();) {
      const CodePoint c = first_code_point(piece.substr(at));
      if (!joins_.joined(last.value, c.value)) {
        cache.encode(piece.substr(begin, at - begin), out, encode_whole);
        begin = at;
      }
      last = c;
      at += c.length;
    }
    cache.encode(piece.substr(begin), out, encode_whole);
  }

  void encode_stray_byte(unsigned char byte, std::vector<int32_t>& out) const override {
    if (bytes_[byte] != kAbsent && (byte_level_ || byte_fallback_))
      out.push_back(bytes_[byte]);
    else if (unk_ != kAbsent)
      out.push_back(unk_);
  }

 private:
  void read_settings(const Json& json, const TokenList& tokens) {
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!string_field(json, key, "").empty())
        fail("its BPE model has \"" + std::string(key) + "\", which is not supported");
    }
    if (const Json* const dropout = field(json, "dropout"); dropout && *dropout != 0)
      fail("its BPE model has \"dropout\", which is not supported");
    ignore_merges_ = bool_field(json, "ignore_merges", false);
    byte_fallback_ = bool_field(json, "byte_fallback", false);
    fuse_unk_ = bool_field(json, "fuse_unk", false);
    const std::string unk = string_field(json, "unk_token", "");
    if (unk.empty()) return;
    unk_ = tokens.find(unk);
    if (unk_ == kAbsent) fail("its unk_token '" + unk + "' is not in the vocabulary");
  }

  void read_symbols(const TokenList& tokens) {
    for (const auto& [token, id] : tokens.ids) {
      if (byte_level_) {
        const auto bytes = bytes_from_alphabet(token);
        if (bytes && bytes->size() == 1) bytes_[static_cast<unsigned char>((*bytes)[0])] = id;
        if (bytes && ignore_merges_) words_.insert(*bytes, id);
      } else {
        const CodePoint c = first_code_point(token);
        if (c.length == token.size()) characters_.insert(c.value + 1, id);
        if (ignore_merges_) words_.insert(token, id);
      }
    }
    for (int byte = 0; byte < 256 && !byte_level_ && byte_fallback_; ++byte)
      bytes_[static_cast<size_t>(byte)] = tokens.find(byte_piece(byte));
  }

  void read_merges(const Json& merges, const TokenList& tokens) {
    merges_.reserve(merges.size());
    int32_t rank = 0;
    for (const Json& json : merges) {
      const StringMerge merge = merge_of(json, static_cast<size_t>(rank));
      const std::string whole = merge.left + merge.right;
      const int32_t left = tokens.find(merge.left), right = tokens.find(merge.right), id = tokens.find(whole);
      const std::string* const missing = left == kAbsent    ? &merge.left
                                         : right == kAbsent ? &merge.right
                                         : id == kAbsent    ? &whole
                                                            : nullptr;
      if (missing)
        fail("merge " + std::to_string(rank) + " names '" + *missing + "', which is not in the vocabulary");
      if (merge.left.empty() || merge.right.empty())
        fail("merge " + std::to_string(rank) + " has an empty half");
      merges_.insert(left, right, {.rank = rank++, .id = id});
      if (byte_level_) continue;
      joins_.add(merge.left, merge.right);
      merges_bytes_ |= left == unk_ || right == unk_ || is_byte(merge.left) || is_byte(merge.right);
    }
  }
  static bool is_byte(std::string_view token) { return token.size() == 6 && token.starts_with("<0x"); }

  void encode_part(std::string_view part, std::vector<int32_t>& out) const {
    if (ignore_merges_) {
      if (const int32_t id = words_.find(part); id != ByteTrie::kNone) {
        out.push_back(id);
        return;
      }
    }
    thread_local std::vector<int32_t> symbols;  // spares an allocation a part
    symbols.clear();
    if (byte_level_)
      split_bytes(part, symbols);
    else
      split_characters(part, symbols);
    merges_.merge_all(symbols);
    out.insert(out.end(), symbols.begin(), symbols.end());
  }

  /// Unknown symbols wait until a known one comes, so that a run of them can become one <unk>.
  struct Unknown {
    int32_t id;
    bool fuse, waiting = false;
    void add(std::vector<int32_t>& symbols) {
      if (id == kAbsent) return;
      if (waiting && !fuse) symbols.push_back(id);
      waiting = true;
    }
    void flush(std::vector<int32_t>& symbols) {
      if (waiting) symbols.push_back(id);
      waiting = false;
    }
  };

  void split_bytes(std::string_view part, std::vector<int32_t>& symbols) const {
    Unknown unknown{unk_, fuse_unk_};
    for (const char c : part) {
      const int32_t id = bytes_[static_cast<unsigned char>(c)];
      if (id == kAbsent) {
        unknown.add(symbols);
      } else {
        unknown.flush(symbols);
        symbols.push_back(id);
      }
    }
    unknown.flush(symbols);
  }

  void split_characters(std::string_view part, std::vector<int32_t>& symbols) const {
    Unknown unknown{unk_, fuse_unk_};
    for (size_t at = 0, length = 0; at < part.size(); at += length) {
      const CodePoint c = first_code_point(part.substr(at));
      length = c.length;
      const int32_t id = characters_.find(c.value + 1);
      if (id != IdTable::kNone) {
        unknown.flush(symbols);
        symbols.push_back(id);
      } else if (!push_bytes(part.substr(at, length), symbols)) {
        unknown.add(symbols);
      }
    }
    unknown.flush(symbols);
  }

  /// False, and nothing done, where not all of the bytes have a token. (A waiting <unk> then comes behind
  /// them, as in `tokenizers`.)
  bool push_bytes(std::string_view character, std::vector<int32_t>& symbols) const {
    if (!byte_fallback_) return false;
    for (const char c : character) {
      if (bytes_[static_cast<unsigned char>(c)] == kAbsent) return false;
    }
    for (const char c : character) symbols.push_back(bytes_[static_cast<unsigned char>(c)]);
    return true;
  }

  bool byte_level_, ignore_merges_ = false, byte_fallback_ = false, fuse_unk_ = false;
  bool cuts_ = false;          // whether a piece may be cut where no merge joins
  bool merges_bytes_ = false;  // some merge is about byte tokens or <unk>, which stand for other characters
  int32_t unk_ = kAbsent;
  std::array<int32_t, 256> bytes_;  // token of a byte
  IdTable characters_;              // code point + 1 -> token
  ByteTrie words_;                  // all tokens, where a whole piece may be one
  MergeTable merges_;
  Joins joins_;
};

}  // namespace

std::unique_ptr<const SubwordModel> make_bpe_model(const Json& json, bool byte_level, TokenList& tokens) {
  const Json& vocabulary = required(json, "vocab");
  if (!vocabulary.is_object()) fail_field("vocab", "an object", vocabulary);
  tokens.ids.reserve(vocabulary.size());
  for (const auto& [token, id] : vocabulary.items()) {
    if (token.empty()) continue;
    tokens.add(token, id_of(id, "token '" + token + "'"), vocabulary.size());
  }
  if (tokens.ids.empty()) fail("its vocabulary is empty");
  return std::make_unique<BpeModel>(json, byte_level, tokens);
}

}  // namespace fathom
