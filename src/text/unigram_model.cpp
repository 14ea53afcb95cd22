// The Unigram model of a tokenizer.json: of all ways to cut a piece into tokens the one with the greatest sum
// of scores (Kudo 2018, arXiv:1804.10959; tokenizers, models/unigram/model.rs).

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "text/id_table.h"
#include "text/subword_model.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

constexpr double kUnknownPenalty = 10.0;  // below the least score
constexpr size_t kNoStart = SIZE_MAX;

class UnigramModel final : public SubwordModel {
 public:
  UnigramModel(std::vector<double> scores, const TokenList& tokens, int32_t unk, bool byte_fallback)
      : scores_(std::move(scores)), unk_(unk) {
    for (const auto& [token, id] : tokens.ids) trie_.insert(token, id);
    unknown_score_ = *std::min_element(scores_.begin(), scores_.end()) - kUnknownPenalty;
    byte_fallback_ = byte_fallback;
    for (int byte = 0; byte < 256; ++byte) bytes_[static_cast<size_t>(byte)] = tokens.find(byte_piece(byte));
  }

  void encode(std::string_view piece, WordCache& cache, std::vector<int32_t>& out) const override {
    cache.encode(piece, out,
                 [this](std::string_view part, std::vector<int32_t>& ids) { encode_part(part, ids); });
  }

  void encode_stray_byte(unsigned char byte, std::vector<int32_t>& out) const override {
    out.push_back(byte_fallback_ && bytes_[byte] >= 0 ? bytes_[byte] : unk_);
  }

 private:
  struct Best {  // of the ways to cut the text up to here
    double score = 0;
    size_t begin = kNoStart;  // of its last token
    int32_t id = 0;
  };

  void encode_part(std::string_view text, std::vector<int32_t>& out) const {
    thread_local std::vector<Best> best;
    find_best(text, best);
    const size_t first = out.size();
    for (size_t end = text.size(); end > 0;) {
      size_t begin = best[end].begin;
      if (best[end].id == unk_) {  // a run of unknown characters is one
        while (begin > 0 && best[begin].id == unk_) begin = best[begin].begin;
        push_unknown(text.substr(begin, end - begin), out);
      } else {
        out.push_back(best[end].id);
      }
      end = begin;
    }
    std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
  }

  void find_best(std::string_view text, std::vector<Best>& best) const {
    best.assign(text.size() + 1, {});
    const auto propose = [&](size_t begin, size_t end, double score, int32_t id) {
      const double sum = score + best[begin].score;
      if (best[end].begin == kNoStart || sum > best[end].score) best[end] = {sum, begin, id};
    };
    for (size_t at = 0; at < text.size();) {
      const size_t length = first_code_point(text.substr(at)).length;
      bool known = false;
      trie_.visit_prefixes(text.substr(at), [&](size_t n, int32_t id) {
        propose(at, at + n, scores_[static_cast<size_t>(id)], id);
        known |= n == length;
      });
      if (!known) propose(at, at + length, unknown_score_, unk_);
      at += length;
    }
  }

  /// In reverse, like all that encode_part appends.
  void push_unknown(std::string_view text, std::vector<int32_t>& out) const {
    if (const int32_t id = trie_.find(text); id != ByteTrie::kNone) {
      out.push_back(id);
      return;
    }
    const bool bytes = byte_fallback_ && std::all_of(text.begin(), text.end(), [&](char c) {
                         return bytes_[static_cast<unsigned char>(c)] >= 0;
                       });
    if (!bytes) {
      out.push_back(unk_);
      return;
    }
    for (size_t i = text.size(); i-- > 0;) out.push_back(bytes_[static_cast<unsigned char>(text[i])]);
  }

  std::vector<double> scores_;
  ByteTrie trie_;
  int32_t unk_;
  double unknown_score_;
  bool byte_fallback_;
  std::array<int32_t, 256> bytes_;  // token of a byte, or -1
};

}  // namespace

std::unique_ptr<const SubwordModel> make_unigram_model(const Json& json, bool byte_level, TokenList& tokens) {
  if (byte_level) fail("its Unigram model stands behind a ByteLevel pre-tokenizer, which is not supported");
  const Json& vocabulary = array_field(json, "vocab");
  if (vocabulary.empty()) fail("its vocabulary is empty");
  std::vector<double> scores;
  for (const Json& entry : vocabulary) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number() ||
        !std::isfinite(entry[1].get<double>()))
      fail("entry " + std::to_string(scores.size()) +
           " of its vocabulary is not a token and its score: " + brief(entry));
    tokens.add(entry[0].get<std::string>(), static_cast<int32_t>(scores.size()), vocabulary.size());
    scores.push_back(entry[1].get<double>());
  }
  const int32_t unk = count_field(json, "unk_id", -1);
  if (unk < 0 || static_cast<size_t>(unk) >= scores.size()) fail("its Unigram model has no valid \"unk_id\"");
  tokens.ids.erase("");
  return std::make_unique<UnigramModel>(std::move(scores), tokens, unk,
                                        bool_field(json, "byte_fallback", false));
}

}  // namespace fathom
