// The Unigram model of a tokenizer.json: the best of all ways to cut a text, found by trying them all.

#include <algorithm>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "text/helpers.h"
#include "text/tokenizer.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

using Ids = std::vector<int32_t>;
using Json = nlohmann::json;
using Entries = std::vector<std::pair<std::string, double>>;

constexpr double kUnknownPenalty = 10;  // below the least score, as in SentencePiece and tokenizers

Json unigram(const Entries& vocabulary, int32_t unk = 0, bool byte_fallback = false) {
  Json entries = Json::array();
  for (const auto& [token, score] : vocabulary) entries.push_back({token, score});
  return {
      {"model", {{"type", "Unigram"}, {"unk_id", unk}, {"byte_fallback", byte_fallback}, {"vocab", entries}}},
      {"decoder", {{"type", "ByteFallback"}}}};
}

Tokenizer load(const Json& json) {
  const ScratchFolder folder;
  folder.write("tokenizer.json", json.dump());
  return Tokenizer::load(folder.path());
}

Entries with_bytes(Entries vocabulary, double score) {
  for (int byte = 0; byte < 256; ++byte) vocabulary.emplace_back(byte_piece(byte), score);
  return vocabulary;
}

/// What the model should do, by going through every segmentation. Scores must be multiples of a power of two,
/// so that equal sums are equal whatever their order.
class BruteForce {
 public:
  BruteForce(const Entries& vocabulary, int32_t unk, bool byte_fallback)
      : unk_(unk), byte_fallback_(byte_fallback) {
    double least = vocabulary.front().second;
    for (const auto& [token, score] : vocabulary) {
      ids_[token] = static_cast<int32_t>(scores_.size());
      scores_.push_back(score);
      least = std::min(least, score);
    }
    unknown_ = least - kUnknownPenalty;
  }

  Ids encode(const std::vector<std::string>& characters) const {
    std::vector<Cut> all;
    Cut cut;
    collect(characters, 0, cut, all);
    const Cut& best = *std::min_element(all.begin(), all.end(), [](const Cut& a, const Cut& b) {
      if (a.score != b.score) return a.score > b.score;
      // Of equals the one whose last token is the longest, then the one before it, and so on.
      return std::lexicographical_compare(a.begins.rbegin(), a.begins.rend(), b.begins.rbegin(),
                                          b.begins.rend());
    });
    return ids_of(characters, best);
  }

 private:
  struct Cut {
    double score = 0;
    std::vector<size_t> begins;
  };

  static std::string text_of(const std::vector<std::string>& characters, size_t begin, size_t end) {
    std::string text;
    for (size_t i = begin; i < end; ++i) text += characters[i];
    return text;
  }

  void collect(const std::vector<std::string>& characters, size_t begin, Cut& cut,
               std::vector<Cut>& all) const {
    if (begin == characters.size()) return all.push_back(cut);
    for (size_t end = begin + 1; end <= characters.size(); ++end) {
      const auto id = ids_.find(text_of(characters, begin, end));
      if (id == ids_.end() && end > begin + 1) continue;
      const double score = id == ids_.end() ? unknown_ : scores_[static_cast<size_t>(id->second)];
      cut.score += score;
      cut.begins.push_back(begin);
      collect(characters, end, cut, all);
      cut.begins.pop_back();
      cut.score -= score;
    }
  }

  Ids ids_of(const std::vector<std::string>& characters, const Cut& cut) const {
    Ids ids;
    std::string unknown;
    const auto flush = [&] {
      if (!unknown.empty()) push_unknown(unknown, ids);
      unknown.clear();
    };
    for (size_t i = 0; i < cut.begins.size(); ++i) {
      const size_t end = i + 1 < cut.begins.size() ? cut.begins[i + 1] : characters.size();
      const std::string text = text_of(characters, cut.begins[i], end);
      const auto id = ids_.find(text);
      if (id == ids_.end() || id->second == unk_) {
        unknown += text;
      } else {
        flush();
        ids.push_back(id->second);
      }
    }
    flush();
    return ids;
  }

  void push_unknown(const std::string& text, Ids& ids) const {
    if (const auto id = ids_.find(text); id != ids_.end()) return ids.push_back(id->second);
    Ids bytes;
    for (const char c : text) {
      const auto id = ids_.find(byte_piece(static_cast<unsigned char>(c)));
      if (id != ids_.end()) bytes.push_back(id->second);
    }
    if (byte_fallback_ && bytes.size() == text.size())
      ids.insert(ids.end(), bytes.begin(), bytes.end());
    else
      ids.push_back(unk_);
  }

  std::map<std::string, int32_t> ids_;
  std::vector<double> scores_;
  double unknown_;
  int32_t unk_;
  bool byte_fallback_;
};

const std::vector<std::string> kCharacters = {"a", "b", "c", "\xc3\xa9", "\xe6\xb0\xb4"};

std::vector<std::string> random_characters(Rng& rng, size_t count) {
  std::vector<std::string> characters;
  while (characters.size() < count) characters.push_back(kCharacters[rng.below(kCharacters.size())]);
  return characters;
}

std::string join(const std::vector<std::string>& characters) {
  std::string text;
  for (const std::string& c : characters) text += c;
  return text;
}

/// Tokens of one to four characters; some characters have none of their own. Scores in quarters, few enough
/// for ties. Where they are positive a run of unknown characters beats a token, and may be one itself.
Entries random_vocabulary(Rng& rng, bool positive) {
  Entries vocabulary = {{"<unk>", 0}};
  std::set<std::string> seen;
  for (uint64_t n = 4 + rng.below(20); n > 0; --n) {
    const std::string token = join(random_characters(rng, 1 + rng.below(4)));
    if (!seen.insert(token).second) continue;
    vocabulary.emplace_back(token, (positive ? 40 : -8) + static_cast<double>(rng.below(32)) / 4);
  }
  if (positive) vocabulary[0].second = 40;
  return vocabulary;
}

TEST(Unigram, FindsTheBestOfAllSegmentations) {
  Rng rng(11);
  size_t unknown = 0, longer = 0;
  for (int round = 0; round < 40; ++round) {
    const bool bytes = round % 4 == 1;
    Entries vocabulary = random_vocabulary(rng, round % 4 == 2);
    if (bytes) vocabulary = with_bytes(std::move(vocabulary), -9);
    const Tokenizer tokenizer = load(unigram(vocabulary, 0, bytes));
    const BruteForce reference(vocabulary, 0, bytes);
    for (int i = 0; i < 50; ++i) {
      const auto characters = random_characters(rng, 1 + rng.below(10));
      const std::string text = join(characters);
      const Ids ids = tokenizer.encode(text);
      EXPECT_EQ(ids, reference.encode(characters)) << "vocabulary " << round << ", text " << text;
      EXPECT_EQ(tokenizer.encode(text), ids) << "when it is remembered";
      unknown += static_cast<size_t>(std::count(ids.begin(), ids.end(), 0));
      longer += ids.size() < characters.size();
    }
  }
  EXPECT_GT(unknown, 100u);
  EXPECT_GT(longer, 1000u);
}

TEST(Unigram, PrefersAmongEqualsTheLongestLastToken) {
  const Tokenizer whole = load(unigram({{"<unk>", 0}, {"a", -1}, {"b", -1}, {"ab", -2}}));
  EXPECT_EQ(whole.encode("ab"), (Ids{3}));
  EXPECT_EQ(whole.encode("abab"), (Ids{3, 3}));
  const Tokenizer halves =
      load(unigram({{"<unk>", 0}, {"a", -1}, {"c", -1}, {"ab", -3}, {"bc", -3}, {"b", -9}}));
  EXPECT_EQ(halves.encode("abc"), (Ids{1, 4}));
}

TEST(Unigram, PutsUnknownCharactersTogether) {
  const Tokenizer tokenizer = load(unigram({{"a", -1}, {"<unk>", -2}, {"b", -3}}, 1));
  EXPECT_EQ(tokenizer.encode("axyza\xc3\xa9 b"), (Ids{0, 1, 0, 1, 2}));
  EXPECT_EQ(tokenizer.encode("x<unk>y"), (Ids{1}));  // its own name is unknown text, too
  EXPECT_EQ(tokenizer.encode("a\xff"
                             "a"),
            (Ids{0, 1, 0}));  // a stray byte
  EXPECT_EQ(tokenizer.encode(""), Ids{});
  EXPECT_EQ(tokenizer.decode(Ids{}), "");
}

TEST(Unigram, FallsBackToBytesWhereItHasThemAll) {
  const Entries few = {{"<unk>", 0}, {"a", -1}, {"<0xC3>", -2}, {"<0xA9>", -2}, {"<0xFF>", -2}};
  const Tokenizer tokenizer = load(unigram(few, 0, true));
  EXPECT_EQ(tokenizer.encode("a\xc3\xa9"), (Ids{1, 2, 3}));
  EXPECT_EQ(tokenizer.encode("\xc3\xa9\xc3\xa8"), (Ids{0}));  // no <0xA8>: the run is unknown
  EXPECT_EQ(tokenizer.encode("\xff"
                             "a\xfe"),
            (Ids{4, 1, 0}));
  EXPECT_EQ(tokenizer.decode(Ids{1, 2, 3}), "a\xc3\xa9");
  const Tokenizer off = load(unigram(few, 0, false));
  EXPECT_EQ(off.encode("a\xc3\xa9\xff"), (Ids{1, 0, 0}));
}

TEST(Unigram, DecodesWhatItEncodesToTheByte) {
  const Tokenizer tokenizer = load(unigram(
      with_bytes({{"<unk>", 0}, {"a", -1}, {"ab", -1.5}, {"\xc3\xa9", -2}, {" the", -3}}, -9), 0, true));
  Rng rng(12);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (uint64_t n = rng.below(40); n > 0; --n) {
      static const char* const parts[] = {"a", "ab", "\xc3\xa9", " the", "\xe6\xb0\xb4", "\n"};
      if (rng.below(4) == 0)
        text += static_cast<char>(rng.next());
      else
        text += parts[rng.below(std::size(parts))];
    }
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
}

TEST(Unigram, TakesTheLastOfTwoEqualTokensAndNoEmptyOne) {
  const Tokenizer tokenizer = load(unigram({{"<unk>", 0}, {"a", -1}, {"", 5}, {"aa", -1}, {"a", -2}}));
  EXPECT_EQ(tokenizer.encode("a"), (Ids{4}));
  EXPECT_EQ(tokenizer.encode("aaa"), (Ids{4, 3}));
  EXPECT_EQ(tokenizer.decode(Ids{1, 2, 4}), "aa");
  EXPECT_EQ(tokenizer.vocab_size(), 5u);
}

TEST(Unigram, CutsAtTheMetaspaceOfT5) {
  Json json = unigram({{"<unk>", 0}, {"\xe2\x96\x81", -4}, {"\xe2\x96\x81so", -2}, {"so", -3}, {"s", -5}});
  json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\xe2\x96\x81"}};
  json["decoder"] = {{"type", "Metaspace"}, {"replacement", "\xe2\x96\x81"}};
  json["added_tokens"] = {{{"id", 5}, {"content", "</s>"}, {"special", true}}};
  const Tokenizer tokenizer = load(json);
  EXPECT_EQ(tokenizer.encode("so sso"), (Ids{2, 1, 4, 3}));
  EXPECT_EQ(tokenizer.decode(Ids{2, 1, 4, 3}), "so sso");
  EXPECT_EQ(tokenizer.encode("so</s>", SpecialTokens::kParse), (Ids{2, 5}));
}

TEST(Unigram, IsKnownByItsVocabularyWhereNoTypeIsGiven) {
  Json json = unigram({{"<unk>", 0}, {"a", -1}});
  json["model"].erase("type");
  EXPECT_EQ(load(json).encode("a"), (Ids{1}));
}

TEST(Unigram, NamesWhatIsWrong) {
  const auto error = [](const char* pointer, const Json& value) {
    Json json = unigram({{"<unk>", 0}, {"a", -1}});
    json[Json::json_pointer(pointer)] = value;
    const std::string message = error_of([&] { load(json); });
    EXPECT_TRUE(contains(message, "tokenizer.json"));
    return message;
  };
  EXPECT_TRUE(contains(error("/model/vocab", {{"a", 1}}), "\"vocab\" must be an array"));
  EXPECT_TRUE(contains(error("/model/vocab", nullptr), "has no \"vocab\""));
  EXPECT_TRUE(contains(error("/model/vocab", Json::array()), "its vocabulary is empty"));
  const auto entry = [&](const Json& value) { return error("/model/vocab/1", value); };
  const std::string wanted = "entry 1 of its vocabulary is not a token and its score: ";
  EXPECT_TRUE(contains(entry("a"), wanted + "\"a\""));
  EXPECT_TRUE(contains(entry(Json::array({"a"})), wanted + "[\"a\"]"));
  EXPECT_TRUE(contains(entry(Json::array({"a", -1, 2})), wanted));
  EXPECT_TRUE(contains(entry(Json::array({7, -1})), wanted + "[7,-1]"));
  EXPECT_TRUE(contains(entry(Json::array({"a", "-1"})), wanted));
  EXPECT_TRUE(contains(entry(Json::array({"a", nullptr})), wanted));
  for (const Json& unk : {Json(), Json(2), Json(INT32_MAX - 1)})
    EXPECT_TRUE(contains(error("/model/unk_id", unk), "no valid \"unk_id\"")) << unk;
  for (const Json& unk : {Json(-1), Json(0.5), Json("0")})
    EXPECT_TRUE(contains(error("/model/unk_id", unk), "the id of unk_id is")) << unk;
  EXPECT_TRUE(contains(error("/model/byte_fallback", 1), "\"byte_fallback\" must be true or false"));
  EXPECT_TRUE(contains(error("/pre_tokenizer", {{"type", "ByteLevel"}}), "behind a ByteLevel"));
}

}  // namespace
}  // namespace fathom
