// A tokenizer's way into a GGUF file and back: the same ids.

#include "text/gguf_vocabulary.h"

#include <nlohmann/json.hpp>

#include "core/json.h"
#include "text/helpers.h"
#include "text/tokenizer.h"

namespace fathom {
namespace {

nlohmann::json fixture(const std::string& name) {
  return read_json(std::string(FATHOM_TEST_DATA) + "/text/data/" + name + ".json");
}

struct Case {
  const char* name;
  const char* model;  ///< tokenizer.ggml.model
  const char* pre;
};

class GgufVocabularyOf : public ::testing::TestWithParam<Case> {};

TEST_P(GgufVocabularyOf, GivesTheTokenizersIds) {
  const auto f = fixture(GetParam().name);
  const ScratchFolder folder;
  folder.write("tokenizer.json", f.at("tokenizer").dump());
  folder.write("tokenizer_config.json",
               nlohmann::json{{"eos_token", f.at("eos")}, {"chat_template", "{{ messages }}"}}.dump());
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  const GgufVocabulary v = gguf_vocabulary_of(folder.path(), tokenizer.vocab_size() + 3);
  EXPECT_EQ(v.model, GetParam().model);
  EXPECT_EQ(v.pre, GetParam().pre);
  EXPECT_EQ(v.tokens.size(), tokenizer.vocab_size() + 3);
  EXPECT_EQ(v.token_types.back(), 5);  // unused
  EXPECT_EQ(v.chat_template, "{{ messages }}");
  EXPECT_EQ(v.eos, tokenizer.eos_id());
  const Tokenizer back = Tokenizer::from_gguf(v, "m.gguf");
  EXPECT_EQ(back.eos_id(), tokenizer.eos_id());
  EXPECT_EQ(back.add_bos(), tokenizer.add_bos());
  // A GGUF has no key for two rules of Mistral's: no space in front of a text that begins with one, nor of
  // what follows a special token.
  const bool mistral = std::string(GetParam().name) == "mistral";
  for (const auto& value : f.at("texts")) {
    const auto text = value.get<std::string>();
    if (mistral && text.starts_with(' ')) continue;
    EXPECT_EQ(back.encode(text), tokenizer.encode(text)) << text;
    if (mistral) continue;
    EXPECT_EQ(back.encode(text, SpecialTokens::kParse), tokenizer.encode(text, SpecialTokens::kParse))
        << text;
  }
  // And once more as a Hugging Face folder, which has the template too.
  const ScratchFolder again;
  back.save(again.path());
  EXPECT_EQ(read_json(again / "tokenizer_config.json")["chat_template"], "{{ messages }}");
  EXPECT_EQ(Tokenizer::load(again.path()).encode("Hello, World 123  x"),
            tokenizer.encode("Hello, World 123  x"));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, GgufVocabularyOf,
                         ::testing::Values(Case{"gpt-2", "gpt2", "gpt-2"}, Case{"smollm2", "gpt2", "smollm"},
                                           Case{"llama-3", "gpt2", "llama-bpe"},
                                           Case{"qwen2", "gpt2", "qwen2"},
                                           Case{"deepseek-llm", "gpt2", "deepseek-llm"},
                                           Case{"deepseek-coder", "gpt2", "deepseek-coder"},
                                           Case{"deepseek-v3", "gpt2", "deepseek-v3"},
                                           Case{"gpt-4o", "gpt2", "gpt-4o"}, Case{"llama-2", "llama", ""},
                                           Case{"mistral", "llama", ""}, Case{"gemma", "llama", ""}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(GgufVocabulary, TakesTheTemplateThatGenerateWouldTake) {
  const ScratchFolder folder;
  small_tokenizer().save(folder.path());
  const auto found = [&] {
    return gguf_vocabulary_of(folder.path(), small_tokenizer().vocab_size()).chat_template;
  };
  EXPECT_EQ(found(), "");
  folder.write("chat_template.json", R"({"chat_template": "{{ in_json }}"})");
  EXPECT_EQ(found(), "{{ in_json }}");
  folder.write("chat_template.jinja", "{% no such statement %}");  // which only others may read
  EXPECT_EQ(found(), "{% no such statement %}");
}

// Names that llama.cpp computes as another's.
TEST(GgufVocabulary, KnowsOtherNamesForAPreTokenizer) {
  const std::pair<const char*, const char*> names[] = {{"llama-3", "falcon3"}, {"qwen2", "megrez"},
                                                       {"gpt-2", "a.x-4.0"},   {"gpt-2", "mellum"},
                                                       {"gpt-2", "trillion"},  {"smollm2", "minerva-7b"}};
  for (const auto& [like, name] : names) {
    const auto f = fixture(like);
    const ScratchFolder folder;
    folder.write("tokenizer.json", f.at("tokenizer").dump());
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    GgufVocabulary v = gguf_vocabulary_of(folder.path(), tokenizer.vocab_size());
    v.pre = name;
    const Tokenizer other = Tokenizer::from_gguf(v, "m.gguf");
    for (const auto& text : f.at("texts"))
      EXPECT_EQ(other.encode(text.get<std::string>()), tokenizer.encode(text.get<std::string>()))
          << name << text;
  }
}

// Seed-Coder's pattern is Qwen 2's, with line feeds behind punctuation apart.
TEST(GgufVocabulary, KnowsSeedCodersPattern) {
  const ScratchFolder folder;
  auto json = fixture("qwen2").at("tokenizer");
  json["normalizer"] = nullptr;
  json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|"
      "\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
  folder.write("tokenizer.json", json.dump());
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  const GgufVocabulary v = gguf_vocabulary_of(folder.path(), tokenizer.vocab_size());
  EXPECT_EQ(v.pre, "seed-coder");
  EXPECT_EQ(Tokenizer::from_gguf(v, "m.gguf").encode("f(x);\n\n12 }"), tokenizer.encode("f(x);\n\n12 }"));
}

TEST(GgufVocabulary, KnowsWhichPreTokenizersBeginWithBos) {
  for (const char* name : {"llama-bpe", "llama3", "llama-v3", "falcon3", "tekken"})
    EXPECT_TRUE(gguf_pre_tokenizer_adds_bos(name)) << name;
  for (const char* name : {"", "qwen2", "smollm", "gpt-4o", "nobody"})
    EXPECT_FALSE(gguf_pre_tokenizer_adds_bos(name)) << name;
}

TEST(GgufVocabulary, OfOurOwnTokenizerIsASentencePieceWithoutASpaceInFront) {
  const ScratchFolder folder;
  const Tokenizer tokenizer = small_tokenizer();
  tokenizer.save(folder.path());
  for (const bool model_alone : {false, true}) {
    if (model_alone) std::filesystem::remove(folder / "tokenizer.json");
    const GgufVocabulary v = gguf_vocabulary_of(folder.path(), tokenizer.vocab_size());
    EXPECT_EQ(v.model, "llama");
    EXPECT_FALSE(v.add_space_prefix);
    EXPECT_EQ(v.unknown, 0);
    EXPECT_EQ(v.bos, 1);
    EXPECT_EQ(v.token_types[3], 6);  // a byte
    const Tokenizer back = Tokenizer::from_gguf(v, "m.gguf");
    for (const std::string text :
         {"the cat  sat on the mat", " \n\t", "na\xc3\xafve \xf0\x9f\x99\x82", "\xff\xfe a"})
      EXPECT_EQ(back.encode(text), tokenizer.encode(text)) << text;
  }
}

template <class Fn>
std::string error_of(const Fn& fn) {
  try {
    fn();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(GgufVocabulary, RefusesWhatNoNameStandsFor) {
  const ScratchFolder folder;
  const auto refused = [&](const nlohmann::json& tokenizer, size_t vocab_size) {
    folder.write("tokenizer.json", tokenizer.dump());
    return error_of([&] { gguf_vocabulary_of(folder.path(), vocab_size); });
  };
  auto json = fixture("qwen2").at("tokenizer");
  EXPECT_NE(refused(json, 10).find("and the model 10"), std::string::npos);
  json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "x|[^x]+";
  const std::string unknown = refused(json, 1 << 14);
  EXPECT_NE(unknown.find("none of the names"), std::string::npos) << unknown;
  EXPECT_NE(unknown.find("--no-tokenizer"), std::string::npos) << unknown;
  // A normalizer that GGUF has no key for changes ids: seen by reading back.
  json = fixture("gpt-2").at("tokenizer");
  json["normalizer"] = {{"type", "Lowercase"}};
  const std::string other = refused(json, 1 << 14);
  EXPECT_NE(other.find("other ids"), std::string::npos) << other;
}

}  // namespace
}  // namespace fathom
