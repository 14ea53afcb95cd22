// Other people's tokenizers: the ids of the libraries that they were made for, and what is refused.

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "text/gguf_vocabulary.h"
#include "text/helpers.h"
#include "text/regex.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace fathom {
namespace {

using Ids = std::vector<int32_t>;

nlohmann::json fixture(const std::string& name) {
  return read_json(std::string(FATHOM_TEST_DATA) + "/text/data/" + name + ".json");
}

Tokenizer load_json(const nlohmann::json& tokenizer,
                    const nlohmann::json& config = nlohmann::json::object()) {
  const ScratchFolder folder;
  folder.write("tokenizer.json", tokenizer.dump());
  folder.write("tokenizer_config.json", config.dump());
  return Tokenizer::load(folder.path());
}

class Family : public ::testing::TestWithParam<const char*> {};

TEST_P(Family, GivesTheIdsOfTheTokenizersLibrary) {
  const auto f = fixture(GetParam());
  const Tokenizer tokenizer = load_json(f.at("tokenizer"), {{"eos_token", f.at("eos")}});
  for (size_t i = 0; i < f.at("texts").size(); ++i) {
    const auto text = f.at("texts")[i].get<std::string>();
    EXPECT_EQ(tokenizer.encode(text), f.at("ids")[i].get<Ids>()) << text;
    EXPECT_EQ(tokenizer.encode(text, SpecialTokens::kParse), f.at("parsed")[i].get<Ids>()) << text;
  }
  EXPECT_NE(f.at("ids"), f.at("parsed"));
  EXPECT_GE(tokenizer.eos_id(), 0);
}

TEST_P(Family, IsTheSameWhenSavedAndLoaded) {
  const auto f = fixture(GetParam());
  const Tokenizer tokenizer = load_json(f.at("tokenizer"), {{"eos_token", f.at("eos")}});
  const ScratchFolder folder;
  tokenizer.save(folder.path());
  const Tokenizer again = Tokenizer::load(folder.path());
  EXPECT_EQ(again.fingerprint(), tokenizer.fingerprint());
  EXPECT_EQ(again.eos_id(), tokenizer.eos_id());
  EXPECT_EQ(again.add_bos(), tokenizer.add_bos());
  EXPECT_EQ(again.encode(" saved and loaded"), tokenizer.encode(" saved and loaded"));
}

INSTANTIATE_TEST_SUITE_P(ForeignTokenizer, Family,
                         ::testing::Values("gpt-2", "smollm2", "llama-3", "qwen2", "deepseek-llm",
                                           "deepseek-coder", "deepseek-v3", "gpt-4o", "llama-2", "mistral",
                                           "gemma", "whitespace"));

TEST(ForeignTokenizer, DecodesWhatItEncodesToTheByte) {
  Rng rng(3);
  for (const char* name : {"gpt-2", "llama-3", "deepseek-v3", "smollm2", "llama-2"}) {
    const Tokenizer tokenizer = load_json(fixture(name).at("tokenizer"));
    for (int i = 0; i < 300; ++i) {
      std::string text;
      for (uint64_t n = rng.below(40); n > 0; --n)
        text += static_cast<char>(i % 2 ? rng.next() : rng.below(128));
      // (Llama 2 puts a space behind a stray byte too: each stretch of text gets one in front.)
      if (std::string(name) == "llama-2" && i % 2 == 1) continue;
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text) << name;
    }
  }
}

TEST(ForeignTokenizer, PutsABosWhereTransformersDoes) {
  auto json = fixture("llama-3").at("tokenizer");
  EXPECT_TRUE(load_json(json).add_bos());  // its template
  EXPECT_TRUE(load_json(json, {{"add_bos_token", false}}).add_bos());
  EXPECT_FALSE(
      load_json(json, {{"tokenizer_class", "LlamaTokenizerFast"}, {"add_bos_token", false}}).add_bos());
  json["post_processor"] = nullptr;
  EXPECT_FALSE(load_json(json).add_bos());
  EXPECT_TRUE(
      load_json(json, {{"tokenizer_class", "LlamaTokenizer"}, {"bos_token", "<|begin_of_text|>"}}).add_bos());
  EXPECT_EQ(load_json(json, {{"bos_token", {{"content", "<|eot_id|>"}}}}).bos_id(),
            load_json(json).encode("<|eot_id|>", SpecialTokens::kParse).at(0));
}

TEST(ForeignTokenizer, NamesWhatItRefuses) {
  const auto good = fixture("gpt-2").at("tokenizer");
  const auto error = [&](const char* pointer, const nlohmann::json& value) {
    auto json = good;
    json[nlohmann::json::json_pointer(pointer)] = value;
    const std::string message = error_of([&] { load_json(json); });
    EXPECT_EQ(message.find('\n'), std::string::npos);
    return message;
  };
  EXPECT_TRUE(contains(error("/model/type", "WordPiece"), "model 'WordPiece' is not supported"));
  EXPECT_TRUE(contains(error("/normalizer", {{"type", "Bert"}}), "normalizer 'Bert' is not supported"));
  EXPECT_TRUE(
      contains(error("/pre_tokenizer", {{"type", "UnicodeScripts"}}), "'UnicodeScripts' is not supported"));
  EXPECT_TRUE(contains(error("/decoder", {{"type", "CTC"}}), "decoder 'CTC' is not supported"));
  EXPECT_TRUE(contains(error("/post_processor", {{"type", "Odd"}}), "post-processor 'Odd' is not supported"));
  EXPECT_TRUE(contains(error("/model/dropout", 0.1), "dropout"));
  EXPECT_TRUE(contains(error("/model/vocab/zz", 1), "two tokens have the id 1"));
  EXPECT_TRUE(contains(error("/model/vocab/zz", 1 << 30), "far beyond"));
  EXPECT_TRUE(contains(error("/model/vocab/zz", -1), "is -1"));
  EXPECT_TRUE(contains(error("/model/vocab", {1, 2}), "must be an object"));
  EXPECT_TRUE(contains(error("/model/merges/0", "q zzz"), "which is not in the vocabulary"));
  EXPECT_TRUE(contains(error("/model/merges/0", 5), "merge 0 is not two tokens"));
  EXPECT_TRUE(contains(error("/added_tokens/0/id", 1e10), "the id of added token"));
  const auto split = [](const char* pattern) {
    return nlohmann::json{
        {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  };
  EXPECT_TRUE(contains(error("/pre_tokenizer", split("(")), "does not compile"));
  EXPECT_TRUE(contains(error("/pre_tokenizer", split("[a&&b]")), "&& in a character class"));
  EXPECT_TRUE(contains(error("/pre_tokenizer", split("a{1,2}+")), "a + behind {n,m}"));
  nlohmann::json deep;
  for (int i = 0; i < 40; ++i)
    deep = {{"type", "Sequence"}, {"normalizers", {deep.is_null() ? nlohmann::json{{"type", "NFC"}} : deep}}};
  EXPECT_TRUE(contains(error("/normalizer", deep), "nested too deeply"));
}

TEST(ForeignTokenizer, GivesUpOnAPatternThatExplodes) {
  auto json = fixture("gpt-2").at("tokenizer");
  json["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers",
                            {{{"type", "Split"},
                              {"pattern", {{"Regex", "(a|aa)+$"}}},
                              {"behavior", "Isolated"},
                              {"invert", false}},
                             {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  const Tokenizer tokenizer = load_json(json);
  std::string text(3000, 'a');
  text.back() = 'b';
  EXPECT_TRUE(contains(error_of([&] { tokenizer.encode(text); }), "gives up on a text of 3000 bytes"));
}

TEST(ForeignTokenizer, SurvivesCutAndDamagedFiles) {
  const ScratchFolder folder;
  const std::string good = fixture("llama-2").at("tokenizer").dump();
  Rng rng(4);
  size_t refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string damaged = i % 3 == 0 ? good.substr(0, rng.below(good.size())) : good;
    for (uint64_t n = rng.below(4); n > 0 && !damaged.empty(); --n)
      damaged[rng.below(damaged.size())] = static_cast<char>(rng.next());
    try {
      Tokenizer::load(folder.write("tokenizer.json", damaged)).encode("some text \xff 1847");
    } catch (const Error& e) {
      EXPECT_TRUE(contains(e.what(), "tokenizer.json"));
      ++refused;
    }
  }
  EXPECT_GT(refused, 100u);
}

TEST(ForeignTokenizer, ReadsAnySentencePieceModel) {
  const ScratchFolder folder;
  const auto text = folder.write("text.txt", sample_text(3000));
  for (const char* type : {"unigram", "bpe"}) {
    const std::string prefix = (folder / "tokenizer").string();
    ASSERT_TRUE(sentencepiece::SentencePieceTrainer::Train(
                    "--input=" + text.string() + " --model_prefix=" + prefix +
                    " --vocab_size=300 --minloglevel=2 --user_defined_symbols=<tab>"
                    " --model_type=" +
                    type)
                    .ok());
    sentencepiece::SentencePieceProcessor processor;
    ASSERT_TRUE(processor.Load(prefix + ".model").ok());
    const Tokenizer tokenizer = Tokenizer::load(folder / "tokenizer.model");
    EXPECT_EQ(tokenizer.eos_id(), processor.eos_id());
    for (uint64_t seed = 0; seed < 50; ++seed) {
      const std::string sample = sample_text(4, seed) + "<tab> \xef\xbc\xa1";
      std::vector<int> ids;
      ASSERT_TRUE(processor.Encode(sample, &ids).ok());
      EXPECT_EQ(tokenizer.encode(sample), Ids(ids.begin(), ids.end()));
    }
    EXPECT_EQ(tokenizer.decode(tokenizer.encode("the river")), "the river");
    EXPECT_EQ(tokenizer.encode("the</s>", SpecialTokens::kParse).back(), processor.eos_id());
  }
}

// The tokens that a folder adds to its tokenizer.model, where no tokenizer.json has them all.
TEST(ForeignTokenizer, FindsTheTokensThatStandBesideASentencePieceModel) {
  const ScratchFolder folder;
  const auto text = folder.write("text.txt", sample_text(3000));
  ASSERT_TRUE(sentencepiece::SentencePieceTrainer::Train(
                  "--input=" + text.string() + " --model_prefix=" + (folder / "tokenizer").string() +
                  " --vocab_size=300 --minloglevel=2 --model_type=bpe")
                  .ok());
  folder.write("added_tokens.json", R"({"<|im_start|>": 300, "<s>": 1})");
  folder.write("tokenizer_config.json",
               R"({"added_tokens_decoder": {"301": {"content": "<tool>", "special": false}}})");
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer.vocab_size(), 302u);
  const Ids plain = tokenizer.encode("the river"),
            marked = tokenizer.encode("<|im_start|>the river", SpecialTokens::kParse);
  ASSERT_EQ(marked.size(), plain.size() + 1);
  EXPECT_EQ(marked[0], 300);
  EXPECT_GT(tokenizer.encode("<|im_start|>").size(), 1u);  // in plain text it is text
  EXPECT_EQ(tokenizer.encode("the<tool>river")[tokenizer.encode("the").size()], 301);
  EXPECT_EQ(tokenizer.decode(Ids{301}), "<tool>");
  folder.write("added_tokens.json", R"({"<|im_start|>": 7})");
  EXPECT_TRUE(contains(error_of([&] { Tokenizer::load(folder.path()); }), "'<|im_start|>' with the id 7"));
  folder.write("added_tokens.json", R"({"<|im_start|>": 900})");
  EXPECT_TRUE(contains(error_of([&] { Tokenizer::load(folder.path()); }), "with the id 900"));
  folder.write("added_tokens.json", R"({"<|im_start|>": -1})");
  EXPECT_TRUE(contains(error_of([&] { Tokenizer::load(folder.path()); }), "token id"));
}

/// The GGUF that a converter would write of a fixture.
GgufVocabulary as_gguf(const nlohmann::json& tokenizer, const std::string& pre) {
  GgufVocabulary v{.model = "gpt2", .pre = pre, .tokens = {}, .scores = {}, .token_types = {}, .merges = {}};
  v.tokens.resize(tokenizer.at("model").at("vocab").size() + tokenizer.at("added_tokens").size());
  v.token_types.assign(v.tokens.size(), 1);
  for (const auto& [token, id] : tokenizer.at("model").at("vocab").items())
    v.tokens[id.get<size_t>()] = token;
  for (const auto& token : tokenizer.at("added_tokens")) {
    v.tokens[token.at("id").get<size_t>()] = token.at("content");
    v.token_types[token.at("id").get<size_t>()] = 3;
    v.eos = token.at("id");
  }
  for (const auto& merge : tokenizer.at("model").at("merges"))
    v.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  return v;
}

TEST(GgufVocabulary, GivesTheIdsOfTheTokenizerItCameFrom) {
  for (const auto& [name, pre] :
       std::initializer_list<std::pair<const char*, const char*>>{{"gpt-2", "gpt-2"},
                                                                  {"smollm2", "smollm"},
                                                                  {"llama-3", "llama-bpe"},
                                                                  {"qwen2", "qwen2"},
                                                                  {"deepseek-llm", "deepseek-llm"},
                                                                  {"deepseek-coder", "deepseek-coder"},
                                                                  {"deepseek-v3", "deepseek-v3"},
                                                                  {"gpt-4o", "gpt-4o"}}) {
    const auto f = fixture(name);
    const Tokenizer tokenizer = Tokenizer::from_gguf(as_gguf(f.at("tokenizer"), pre), "model.gguf");
    for (size_t i = 0; i < f.at("texts").size(); ++i)
      EXPECT_EQ(tokenizer.encode(f.at("texts")[i].get<std::string>()), f.at("ids")[i].get<Ids>()) << name;
  }
}

TEST(GgufVocabulary, MergesByScoreAsSentencePieceDoes) {
  GgufVocabulary v{.model = "llama",
                   .pre = "",
                   .tokens = {"<unk>", "<s>", "</s>"},
                   .scores = {0, 0, 0},
                   .token_types = {2, 3, 3},
                   .merges = {},
                   .bos = 1,
                   .eos = 2,
                   .unknown = 0,
                   .add_bos = true};
  const auto add = [&](const std::string& token, float score, int32_t type) {
    v.tokens.push_back(token);
    v.scores.push_back(score);
    v.token_types.push_back(type);
  };
  const char* const hex = "0123456789ABCDEF";
  for (int b = 0; b < 256; ++b) add(std::string("<0x") + hex[b / 16] + hex[b % 16] + ">", 0, 6);
  add("\xe2\x96\x81", -10, 1);
  add("a", -11, 1);
  add("b", -12, 1);
  add("ab", -2, 1);
  add("ba", -1, 1);
  add("\xe2\x96\x81"
      "a",
      -3, 1);
  const Tokenizer tokenizer = Tokenizer::from_gguf(v, "model.gguf");
  EXPECT_TRUE(tokenizer.add_bos());
  EXPECT_EQ(tokenizer.encode("aba"), (Ids{264, 263}));  // "_a", "ba"
  EXPECT_EQ(tokenizer.encode("\n"), (Ids{259, 3 + 10}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("aba b\n")), "aba b\n");
}

TEST(GgufVocabulary, NamesWhatIsWrong) {
  const auto error = [](auto change) {
    GgufVocabulary v = as_gguf(fixture("gpt-2").at("tokenizer"), "gpt-2");
    change(v);
    return error_of([&] { Tokenizer::from_gguf(v, "model.gguf"); });
  };
  EXPECT_TRUE(contains(error([](auto& v) { v.pre = "novel"; }),
                       "'novel' (tokenizer.ggml.pre) is not known; known are default, gpt-2"));
  EXPECT_TRUE(contains(error([](auto& v) { v.model = "rwkv"; }), "'rwkv'"));
  EXPECT_TRUE(contains(error([](auto& v) { v.token_types.pop_back(); }), "types of"));
  EXPECT_TRUE(contains(error([](auto& v) { v.eos = 1 << 20; }), "the special id"));
  EXPECT_TRUE(contains(error([](auto& v) { v.tokens[5] = v.tokens[6]; }), "stands there twice"));
  EXPECT_TRUE(contains(error([](auto& v) { v.tokens[5] = "\xff"; }), "not UTF-8"));
  EXPECT_TRUE(contains(error([](auto& v) { v.merges[0] = "nothing"; }), "merge 0 is not two tokens"));
}

TEST(Regex, MeansWhatOnigurumaMeans) {
  RegexScratch scratch;
  const auto matches = [&](const char* pattern, const std::string& text) {
    std::vector<Span> spans;
    Regex(pattern).find_all(text, scratch, spans);
    std::string shown;
    for (const Span& s : spans)
      shown += (s.match ? "[" : "(") + text.substr(s.begin, s.end - s.begin) + (s.match ? "]" : ")");
    return shown;
  };
  EXPECT_EQ(matches("\\s",
                    "a\xe1\xa0\x8e"
                    "b"),
            "(a\xe1\xa0\x8e"
            "b)");  // U+180E is no white space
  EXPECT_EQ(matches("\\h+", "x1f g"), "(x)[1f]( g)");
  EXPECT_EQ(matches("[^(\\s|[.,]]+", "a.b c"), "[a](.)[b]( )[c]");
  EXPECT_EQ(matches("\\s+$", "a \nb"), "(a)[ ](\nb)");  // lines
  EXPECT_EQ(matches("\\p{L}+",
                    "1\xea\x9f\x8b"
                    "2"),
            "(1)[\xea\x9f\x8b](2)");  // U+A7CB, of Unicode 16
  EXPECT_EQ(matches("(?=b)", "abab"), "(a)[](ba)[](b)");
}

TEST(Unicode, NormalFormsAndLowerCase) {
  EXPECT_EQ(to_normal_form("cafe\xcc\x81 x", NormalForm::kNfc), "caf\xc3\xa9 x");
  EXPECT_EQ(to_normal_form("\xef\xac\x81", NormalForm::kNfkc), "fi");
  EXPECT_EQ(to_normal_form("\xe2\x84\xab", NormalForm::kNfd), "A\xcc\x8a");
  EXPECT_EQ(to_lowercase("\xc4\xb0STANBUL"), "i\xcc\x87stanbul");
}

}  // namespace
}  // namespace fathom
