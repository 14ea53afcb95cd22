// What the names in tokenizer.ggml.pre stand for: the pre-tokenizers of the models' own tokenizer.json files.
// Names: ggml-org/llama.cpp, src/llama-vocab.cpp; settings: the published files of each family.

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>

#include "text/gguf_vocabulary.h"
#include "text/pre_tokenizer.h"
#include "text/text_error.h"

namespace fathom {
namespace {

// tiktoken's cl100k_base, with runs of three, of one and of any number of digits.
#define FATHOM_CL100K(digits)                                        \
  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" digits \
  R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
constexpr const char* kLlama3 = FATHOM_CL100K(R"(\p{N}{1,3})");
constexpr const char* kQwen2 = FATHOM_CL100K(R"(\p{N})");
#undef FATHOM_CL100K

// As Qwen 2's, but for punctuation, which takes no line feeds with it; the published file has them as they
// are.
constexpr const char* kSeedCoder =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|"
    "\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The letters of DeepSeek LLM: what Python's \w-like list of its authors holds, by code point.
constexpr const char* kDeepSeekLetters =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ\x{1F5F}-\x{1F7D}ᾀ-ᾴᾶ-ᾼ\x{1FBE}ῂ-ῄῆ-ῌῐ-\x{1FD3}ῖ-\x{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";

Json split(const char* pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}
Json digits(bool individual) { return {{"type", "Digits"}, {"individual_digits", individual}}; }
Json byte_level(bool use_regex) {
  return {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}
Json sequence(std::initializer_list<Json> steps) {
  return {{"type", "Sequence"}, {"pretokenizers", Json::array_t(steps)}};
}

Json gpt2() { return byte_level(true); }
Json llama3() { return sequence({split(kLlama3), byte_level(false)}); }
Json qwen2() { return sequence({split(kQwen2), byte_level(false)}); }
Json seed_coder() { return sequence({split(kSeedCoder), byte_level(false)}); }
Json single_digits_gpt2() { return sequence({digits(true), byte_level(true)}); }
Json tekken() { return sequence({split(kTekken), byte_level(false)}); }
Json gpt4o() { return sequence({split(kGpt4o), byte_level(false)}); }
Json deepseek_llm() {
  return sequence({split("[\r\n]"), split(kDeepSeekLetters), split("\\s?[!-/:-~！-／：-～‘-‟　-。]+"),
                   split("\\s+$"), split("[一-龥ࠀ-一가-퟿]+"), digits(true), byte_level(false)});
}
Json deepseek_coder() {
  return sequence({split("[\r\n]"), split("\\s?\\p{L}+"), split("\\s?\\p{P}+"),
                   split("[一-龥ࠀ-一가-퟿]+"), digits(true), byte_level(false)});
}
Json deepseek_v3() {
  return sequence(
      {split("\\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"),
       split(
           "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
           "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"),
       byte_level(false)});
}

struct Known {
  std::string_view name;
  Json (*pre_tokenizer)();
  bool nfc, ignore_merges, adds_bos = false;
};
constexpr Known kKnown[] = {
    {"default", gpt2, false, false},
    {"gpt-2", gpt2, false, false},
    {"gpt2", gpt2, false, false},
    {"olmo", gpt2, true, false},
    {"phi-2", gpt2, false, false},
    {"a.x-4.0", gpt2, false, false},
    {"mellum", gpt2, false, false},
    {"trillion", gpt2, false, false},
    {"mpt", gpt2, true, false},
    {"smollm", single_digits_gpt2, false, false},
    {"starcoder", single_digits_gpt2, false, false},
    {"refact", single_digits_gpt2, false, false},
    {"minerva-7b", single_digits_gpt2, false, false},
    {"command-r", single_digits_gpt2, true, false},
    {"llama-bpe", llama3, false, true, true},
    {"llama3", llama3, false, true, true},
    {"llama-v3", llama3, false, true, true},
    {"falcon3", llama3, false, true, true},
    {"dbrx", llama3, false, false},
    {"smaug-bpe", llama3, false, true},
    {"qwen2", qwen2, true, false},
    {"stablelm2", qwen2, true, false},
    {"deepseek-r1-qwen", qwen2, true, false},
    {"megrez", qwen2, true, false},
    {"seed-coder", seed_coder, false, false},
    {"tekken", tekken, false, true, true},
    {"gpt-4o", gpt4o, false, false},
    {"deepseek-llm", deepseek_llm, false, false},
    {"deepseek-coder", deepseek_coder, false, false},
    {"deepseek-v3", deepseek_v3, false, false},
};

}  // namespace

std::vector<std::string_view> gguf_pre_tokenizer_names() {
  std::vector<std::string_view> names;
  for (const Known& known : kKnown) names.push_back(known.name);
  return names;
}

bool gguf_pre_tokenizer_adds_bos(const std::string& name) {
  return std::any_of(std::begin(kKnown), std::end(kKnown),
                     [&](const Known& known) { return known.name == name && known.adds_bos; });
}

Json gguf_pre_tokenizer(const std::string& name, const std::filesystem::path& path) {
  const std::string wanted = name.empty() ? "default" : name;
  std::string names;
  for (const Known& known : kKnown) {
    if (known.name == wanted) {
      const Json normalizer = known.nfc ? Json{{"type", "NFC"}} : Json();
      return {{"normalizer", normalizer},
              {"pre_tokenizer", known.pre_tokenizer()},
              {"ignore_merges", known.ignore_merges}};
    }
    names.append(names.empty() ? "" : ", ").append(known.name);
  }
  fail_in(path, "its pre-tokenizer '" + name + "' (tokenizer.ggml.pre) is not known", "known are " + names);
}

}  // namespace fathom
