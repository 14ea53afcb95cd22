// SentencePiece's compiled normalization rules, as a tokenizer.json holds them; here compiled by a small
// program of our own, so that damage can be done in known places.

#include <cstring>
#include <map>

#include <nlohmann/json.hpp>

#include "text/charsmap.h"
#include "text/helpers.h"
#include "text/tokenizer.h"

namespace fathom {
namespace {

/// A compiled trie: the node of a string at some unit, its children at base ^ label, its leaf at base. Each
/// node gets 256 units of its own, which wastes space, but needs no search for free places.
class Rules {
 public:
  void add(const std::string& from, const std::string& to) {
    size_t node = 0;
    for (const char c : from) node = child(node, static_cast<unsigned char>(c));
    const size_t base = base_of(node);
    units[node] |= 1u << 8;
    units[base] = static_cast<uint32_t>(replacements.size()) | 1u << 31;
    replacements += to;
    replacements.push_back('\0');
  }

  std::string bytes() const {
    const auto size = static_cast<uint32_t>(units.size() * sizeof(uint32_t));
    std::string out(sizeof(size) + size, '\0');
    std::memcpy(out.data(), &size, sizeof(size));
    std::memcpy(out.data() + sizeof(size), units.data(), size);
    return out + replacements;
  }

  std::vector<uint32_t> units = {0};
  std::string replacements;

 private:
  size_t base_of(size_t node) {
    if (const auto it = bases_.find(node); it != bases_.end()) return it->second;
    if (units.size() == 1) units.resize(256);
    const size_t base = units.size();
    units.resize(base + 256, 0xff);  // a label that no child of another node has here
    const auto offset = static_cast<uint32_t>(node ^ base);
    // Offsets that are multiples of 256 may be written in the long form; the root's is.
    units[node] |= offset % 256 == 0 ? offset >> 8 << 10 | 1u << 9 : offset << 10;
    return bases_[node] = base;
  }
  size_t child(size_t node, unsigned char c) {
    const size_t at = base_of(node) ^ c;
    if ((units[at] & 0x800000ff) != c || !bases_.contains(at)) {
      units[at] = c;
      base_of(at);
    }
    return at;
  }

  std::map<size_t, size_t> bases_;
};

std::string base64(std::string_view bytes) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) text += i + k > bytes.size() ? '=' : digits[bits >> (18 - 6 * k) & 63];
  }
  return text;
}

const char* const kAcute = "\xcc\x81";  // combining

Rules sample_rules() {
  Rules rules;
  rules.add("\xef\xac\x81", "fi");  // a ligature
  rules.add("A", "a");
  rules.add("\xc2\xad", "");  // a soft hyphen goes
  rules.add(std::string("e") + kAcute, "\xc3\xa9");
  rules.add("o", "0");
  rules.add(std::string("o") + kAcute, "\xc3\xb3");
  rules.add("xyz", "never");  // more than one grapheme
  return rules;
}

TEST(CharsMap, RewritesGraphemesThenCharacters) {
  const CharsMap map(sample_rules().bytes());
  EXPECT_EQ(map.apply(""), "");
  EXPECT_EQ(map.apply("no rul\xc3\xa9"), "n0 rul\xc3\xa9");
  EXPECT_EQ(map.apply("A\xef\xac\x81t a\xc2\xad"), "afit a");
  EXPECT_EQ(map.apply(std::string("e") + kAcute), "\xc3\xa9");
  EXPECT_EQ(map.apply("xyz"), "xyz");
  EXPECT_EQ(map.apply(std::string_view("A\0A", 3)), std::string_view("a\0a", 3));
}

// As tokenizers does: the shortest rule that a grapheme starts with stands for all of it.
TEST(CharsMap, TakesTheShortestRuleForAWholeGrapheme) {
  const CharsMap map(sample_rules().bytes());
  EXPECT_EQ(map.apply(std::string("o") + kAcute), "0");
  // A grapheme of more than five bytes goes by its characters.
  EXPECT_EQ(map.apply(std::string("o") + kAcute + kAcute), "0");
  EXPECT_EQ(map.apply(std::string("o") + kAcute + kAcute + kAcute),
            std::string("0") + kAcute + kAcute + kAcute);
}

TEST(CharsMap, RefusesWhatLeadsOutOfIt) {
  const auto refuses = [](auto change) {
    Rules rules = sample_rules();
    change(rules);
    return contains(error_of([&] { CharsMap map(rules.bytes()); }), "(precompiled_charsmap) are damaged");
  };
  const auto cut = [](size_t size) {
    return contains(error_of([&] { CharsMap map(sample_rules().bytes().substr(0, size)); }), "are damaged");
  };
  EXPECT_TRUE(cut(0));
  EXPECT_TRUE(cut(3));
  EXPECT_TRUE(cut(4));
  EXPECT_TRUE(cut(4 + 1024));
  EXPECT_TRUE(cut(sample_rules().bytes().size() - 1)) << "the last replacement has no end";
  EXPECT_TRUE(contains(error_of([] { CharsMap map(std::string(8, '\0')); }), "are damaged"));
  EXPECT_TRUE(refuses([](Rules& r) { r.units.clear(); }));
  EXPECT_TRUE(refuses([](Rules& r) { r.units.resize(r.units.size() - 1); }))
      << "a node's children are cut off";
  EXPECT_TRUE(refuses([](Rules& r) { r.units[0] |= 0xfffffu << 10; })) << "an offset";
  EXPECT_TRUE(refuses([](Rules& r) { r.replacements.clear(); }));
  EXPECT_TRUE(refuses([](Rules& r) { r.replacements = std::string("\xff\0", 2); })) << "not UTF-8";
  EXPECT_TRUE(refuses([](Rules& r) {
    for (uint32_t& unit : r.units) {
      if (unit >> 31) unit = 1u << 31 | static_cast<uint32_t>(r.replacements.size());
    }
  })) << "a value";
  EXPECT_TRUE(refuses([](Rules& r) {
    for (uint32_t& unit : r.units) {
      if (unit >> 31) unit = 1u << 31 | static_cast<uint32_t>(r.replacements.find('\xa9'));
    }
  })) << "within a character";
}

TEST(CharsMap, SurvivesDamage) {
  const std::string good = sample_rules().bytes();
  Rng rng(6);
  size_t refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = good;
    for (uint64_t n = 1 + rng.below(40); n > 0; --n)
      damaged[rng.below(good.size())] = static_cast<char>(rng.next());
    try {
      CharsMap(damaged).apply("A\xef\xac\x81 e\xcc\x81 xyz o\xcc\x81 \xc2\xad");
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100u);
}

TEST(CharsMap, ReadsBase64) {
  Rng rng(7);
  for (size_t size = 0; size < 70; ++size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(rng.next());
    EXPECT_EQ(decode_base64(base64(bytes)), bytes);
  }
  EXPECT_EQ(decode_base64("+/8="), "\xfb\xff");
  EXPECT_TRUE(contains(error_of([] { decode_base64("ab c"); }), "holds ' '"));
  EXPECT_TRUE(contains(error_of([] { decode_base64("a=bc"); }), "holds '='"));
}

TEST(CharsMap, NormalizesForATokenizer) {
  const auto load = [](const nlohmann::json& rules) {
    nlohmann::json vocabulary = nlohmann::json::array();
    for (const char* token : {"<unk>", "a", "fi", "A"}) vocabulary.push_back({token, -1});
    const nlohmann::json json = {{"normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", rules}}},
                                 {"model", {{"type", "Unigram"}, {"unk_id", 0}, {"vocab", vocabulary}}}};
    const ScratchFolder folder;
    folder.write("tokenizer.json", json.dump());
    return Tokenizer::load(folder.path());
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(load(base64(sample_rules().bytes())).encode("A\xef\xac\x81\xc2\xad"), (Ids{1, 2}));
  for (const nlohmann::json& none : {nlohmann::json(), nlohmann::json("")})
    EXPECT_EQ(load(none).encode("Aa"), (Ids{3, 1})) << "no rules";
  EXPECT_TRUE(contains(error_of([&] { load("****"); }), "tokenizer.json"));
  EXPECT_TRUE(contains(error_of([&] { load(base64("damaged")); }), "(precompiled_charsmap) are damaged"));
}

}  // namespace
}  // namespace fathom
