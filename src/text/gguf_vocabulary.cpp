#include "text/gguf_vocabulary.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "text/text_error.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

enum TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

class Converter {
 public:
  Converter(const GgufVocabulary& v, const std::filesystem::path& path) : v_(v), path_(path) {}

  GgufTokenizerFiles run() {
    check();
    Json tokenizer = {{"version", "1.0"},
                      {"truncation", nullptr},
                      {"padding", nullptr},
                      {"added_tokens", added()},
                      {"post_processor", post_processor()}};
    if (v_.model == "gpt2")
      add_byte_level(tokenizer);
    else
      add_sentencepiece(tokenizer);
    return {std::move(tokenizer), config()};
  }

 private:
  [[noreturn]] void damaged(const std::string& what) const {
    fail_in(path_, "its vocabulary is damaged: " + what, "download it again");
  }

  int32_t type(size_t id) const { return v_.token_types.empty() ? kNormal : v_.token_types[id]; }

  void check() const {
    if (v_.model != "gpt2" && v_.model != "llama")
      fail_in(path_, "its vocabulary is of the kind '" + v_.model + "' (tokenizer.ggml.model)",
              "gpt2 and llama are supported");
    const size_t n = v_.tokens.size();
    if (n == 0) damaged("no tokens");
    if (!v_.token_types.empty() && v_.token_types.size() != n)
      damaged(std::to_string(v_.token_types.size()) + " types of " + std::to_string(n) + " tokens");
    if (v_.model == "llama" && v_.scores.size() != n)
      damaged(std::to_string(v_.scores.size()) + " scores of " + std::to_string(n) + " tokens");
    for (const int32_t id : {v_.bos, v_.eos, v_.unknown, v_.padding}) {
      if (id < -1 || (id >= 0 && static_cast<size_t>(id) >= n))
        damaged("the special id " + std::to_string(id) + " of " + std::to_string(n) + " tokens");
    }
    for (size_t id = 0; id < n; ++id) {
      if (find_invalid_utf8(v_.tokens[id]) != std::string_view::npos)
        damaged("token " + std::to_string(id) + " is not UTF-8");
    }
  }

  Json added() const {
    Json list = Json::array();
    for (size_t id = 0; id < v_.tokens.size(); ++id) {
      const bool special = type(id) == kControl || type(id) == kUnknown;
      if ((!special && type(id) != kUserDefined) || v_.tokens[id].empty()) continue;
      list.push_back({{"id", id},
                      {"content", v_.tokens[id]},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false},
                      {"normalized", false},
                      {"special", special}});
    }
    return list;
  }

  Json vocabulary() const {
    Json vocab = Json::object();
    for (size_t id = 0; id < v_.tokens.size(); ++id) {
      if (v_.tokens[id].empty()) continue;
      if (!vocab.emplace(v_.tokens[id], id).second)
        damaged("the token '" + v_.tokens[id] + "' stands there twice");
    }
    return vocab;
  }

  Json post_processor() const {
    Json single = Json::array(), tokens = Json::object();
    const auto add = [&](int32_t id) {
      const std::string& name = v_.tokens[static_cast<size_t>(id)];
      single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
      tokens[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
    };
    if (v_.add_bos && v_.bos >= 0) add(v_.bos);
    single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
    if (v_.add_eos && v_.eos >= 0) add(v_.eos);
    if (single.size() == 1) return nullptr;
    Json pair = single;
    pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
    return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
  }

  Json model(bool byte_fallback, Json merges) const {
    const Json unk =
        !byte_fallback || v_.unknown < 0 ? Json() : Json(v_.tokens[static_cast<size_t>(v_.unknown)]);
    return {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", unk},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", byte_fallback},
            {"byte_fallback", byte_fallback},
            {"ignore_merges", false},
            {"vocab", vocabulary()},
            {"merges", std::move(merges)}};
  }

  void add_byte_level(Json& tokenizer) const {
    const Json known = gguf_pre_tokenizer(v_.pre, path_);
    tokenizer["normalizer"] = known["normalizer"];
    tokenizer["pre_tokenizer"] = known["pre_tokenizer"];
    tokenizer["decoder"] = {
        {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
    Json merges = Json::array();
    for (const std::string& merge : v_.merges) {
      if (find_invalid_utf8(merge) != std::string_view::npos) damaged("a merge is not UTF-8");
      merges.push_back(merge);
    }
    tokenizer["model"] = model(false, std::move(merges));
    tokenizer["model"]["ignore_merges"] = known["ignore_merges"];
  }

  void add_sentencepiece(Json& tokenizer) const {
    const auto replace = [](std::string_view from, std::string_view to) {
      return Json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
    };
    Json steps = Json::array();
    if (v_.add_space_prefix) steps.push_back({{"type", "Prepend"}, {"prepend", kSpaceSymbol}});
    steps.push_back(replace(" ", kSpaceSymbol));
    tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
    tokenizer["pre_tokenizer"] = nullptr;
    Json decoders = Json::array({replace(kSpaceSymbol, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
    if (v_.add_space_prefix)
      decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    tokenizer["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
    tokenizer["model"] = model(true, merges_by_score());
  }

  /// SentencePiece merges the two neighbours whose whole has the greatest score, so that every cut of a token
  /// into two is a merge, in the order of the tokens' scores.
  Json merges_by_score() const {
    std::unordered_map<std::string_view, size_t> ids;
    std::vector<size_t> order;
    for (size_t id = 0; id < v_.tokens.size(); ++id) {
      if (std::isnan(v_.scores[id])) damaged("the score of token " + std::to_string(id) + " is no number");
      if (type(id) != kNormal || v_.tokens[id].empty()) continue;
      ids.emplace(v_.tokens[id], id);
      order.push_back(id);
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return v_.scores[a] > v_.scores[b]; });
    Json merges = Json::array();
    for (const size_t id : order) {
      const std::string_view token = v_.tokens[id];
      for (size_t at = utf8_char_length(token); at < token.size(); at += utf8_char_length(token.substr(at))) {
        if (ids.contains(token.substr(0, at)) && ids.contains(token.substr(at)))
          merges.push_back(Json::array({token.substr(0, at), token.substr(at)}));
      }
    }
    return merges;
  }

  Json config() const {
    Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                   {"add_bos_token", v_.add_bos},
                   {"add_eos_token", v_.add_eos},
                   {"clean_up_tokenization_spaces", false}};
    const auto name = [&](const char* key, int32_t id) {
      if (id >= 0) config[key] = v_.tokens[static_cast<size_t>(id)];
    };
    name("bos_token", v_.bos);
    name("eos_token", v_.eos);
    name("unk_token", v_.unknown);
    name("pad_token", v_.padding);
    if (!v_.chat_template.empty()) config["chat_template"] = v_.chat_template;
    return config;
  }

  const GgufVocabulary& v_;
  const std::filesystem::path& path_;
};

}  // namespace

GgufTokenizerFiles gguf_tokenizer_files(const GgufVocabulary& vocabulary, const std::filesystem::path& path) {
  return Converter(vocabulary, path).run();
}

}  // namespace fathom
