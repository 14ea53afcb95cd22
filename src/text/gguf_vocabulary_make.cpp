// From a tokenizer to the vocabulary of a GGUF file. What a name of tokenizer.ggml.pre or a score stands for:
// gguf_vocabulary.cpp, which reads them; llama.cpp's own reading is src/llama-vocab.cpp of
// ggml-org/llama.cpp.

#include <algorithm>
#include <unordered_map>

#include "core/file.h"
#include "text/chat_template.h"
#include "text/gguf_vocabulary.h"
#include "text/hf_tokenizer.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// The numbers of tokenizer.ggml.token_type, which are SentencePiece's.
using PieceType = SentencePieceModel::PieceType;

// Many scripts, runs of spaces, digits, code, emoji, a decomposed letter: what one tokenizer cuts otherwise
// than another. No U+2581, which our own tokenizers alone keep apart from a space (tokenizer.h).
constexpr const char* kSample =
    "The quick brown fox can't jump 1234567890 times over  the lazy dog's   back.\n\n\tint main(void) { "
    "return x[0] += 0x1F; }\r\n  Größe, naïve cafe\xcc\x81, Æsir; 你好，世界。日本語のテスト 한국어 "
    "Привет мир, ελληνικά עברית العربية हिन्दी 🙂👩‍👩‍👧 ﬁ ½ ² … <s> "
    "</s> "
    "http://a.b/c?d=e&f#g _under__score_ CamelCaseHTTPServer    \n \n   end ";

[[noreturn]] void refuse(const std::string& what) {
  fail("the tokenizer can't be written into a GGUF file: " + what,
       "--format hf keeps it, and --no-tokenizer leaves it out");
}

// ---- pre-tokenizers --------------------------------------------------------------------------------------

// A pre-tokenizer as a list of its steps, with defaults filled in and what does not change ids left out.
void flatten(const Json& json, Json& steps, int depth = 0) {
  if (json.is_null() || depth > kMaxNesting) return;
  const std::string type = string_field(json, "type");
  if (type == "Sequence") {
    for (const char* key : {"pretokenizers", "normalizers"}) {
      if (!field(json, key)) continue;
      for (const Json& step : array_field(json, key)) flatten(step, steps, depth + 1);
    }
  } else if (type == "ByteLevel") {
    steps.push_back({type, bool_field(json, "add_prefix_space", true), bool_field(json, "use_regex", true)});
  } else if (type == "Split") {
    steps.push_back(
        {type, required(json, "pattern"), string_field(json, "behavior"), bool_field(json, "invert", false)});
  } else if (type == "Digits") {
    steps.push_back({type, bool_field(json, "individual_digits", false)});
  } else {
    steps.push_back(json);
  }
}

Json flattened(const Json* json) {
  Json steps = Json::array();
  if (json != nullptr) flatten(*json, steps);
  return steps;
}

// Of several names for one thing, those that most files use.
std::vector<std::string> names_by_preference() {
  std::vector<std::string> names{"gpt-2", "smollm", "llama-bpe", "qwen2"};
  for (const std::string_view name : gguf_pre_tokenizer_names()) {
    // The others of the first kind: "default" makes llama.cpp warn, and it does not know "gpt2".
    if (name != "default" && name != "gpt2" && std::find(names.begin(), names.end(), name) == names.end())
      names.emplace_back(name);
  }
  return names;
}

// ---- tokens ----------------------------------------------------------------------------------------------

void add_token(GgufVocabulary& v, size_t id, std::string text, int32_t type) {
  if (id > (size_t{1} << 24)) refuse("it has the id " + std::to_string(id));
  if (id >= v.tokens.size()) {
    v.tokens.resize(id + 1);
    v.token_types.resize(id + 1, PieceType::kUnused);
  }
  v.tokens[id] = std::move(text);
  v.token_types[id] = type;
}

bool is_byte_piece(const std::string& text) {
  return text.size() == 6 && text.starts_with("<0x") && text.ends_with('>');
}

// Whether encoding puts a space in front of a text, whichever way a tokenizer.json says so.
bool puts_space_in_front(const Json& tokenizer) {
  for (const Json& step : flattened(field(tokenizer, "normalizer"))) {
    if (step.is_object() && string_field(step, "type") == "Prepend") return true;
  }
  for (const Json& step : flattened(field(tokenizer, "pre_tokenizer"))) {
    if (!step.is_object() || string_field(step, "type") != "Metaspace") continue;
    return string_field(step, "prepend_scheme",
                        bool_field(step, "add_prefix_space", true) ? "always" : "never") != "never";
  }
  return false;
}

std::vector<std::string> read_merges(const Json& model) {
  std::vector<std::string> merges;
  for (const Json& merge : array_field(model, "merges"))
    merges.push_back(merge.is_array() ? merge.at(0).get<std::string>() + " " + merge.at(1).get<std::string>()
                                      : merge.get<std::string>());
  return merges;
}

// SentencePiece merges the two neighbours whose whole scores highest: minus the rank of its first merge.
std::vector<float> scores_of_merges(const GgufVocabulary& v) {
  std::unordered_map<std::string, size_t> rank;
  for (size_t r = 0; r < v.merges.size(); ++r) {
    std::string whole = v.merges[r];
    whole.erase(whole.find(' ', 1), 1);
    rank.emplace(std::move(whole), r);
  }
  std::vector<float> scores(v.tokens.size());
  // Counted densely: floats hold whole numbers to 2^24 exactly, and there may be more merges than that.
  std::vector<std::pair<size_t, size_t>> order;
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    if (v.token_types[id] != PieceType::kNormal) continue;
    const auto found = rank.find(v.tokens[id]);
    order.emplace_back(found == rank.end() ? v.merges.size() + id : found->second, id);
  }
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < order.size(); ++i) scores[order[i].second] = -static_cast<float>(i);
  return scores;
}

GgufVocabulary from_tokenizer_json(const Json& json) {
  GgufVocabulary v;
  const Json& model = required(json, "model");
  const std::string type = string_field(model, "type", "BPE");
  if (type != "BPE") refuse("it is of the kind '" + type + "', and GGUF's readers know BPE");
  const bool byte_fallback = bool_field(model, "byte_fallback", false);
  for (const auto& [token, id] : required(model, "vocab").items())
    add_token(v, static_cast<size_t>(id_of(id, "'" + token + "'")), token,
              byte_fallback && is_byte_piece(token) ? PieceType::kByte : PieceType::kNormal);
  const std::string unknown = string_field(model, "unk_token", "");
  if (field(json, "added_tokens")) {
    for (const Json& added : array_field(json, "added_tokens")) {
      const std::string content = string_field(added, "content");
      const Json* const known = field(model["vocab"], content.c_str());
      const int32_t id = id_of(known != nullptr ? *known : required(added, "id"), "'" + content + "'");
      const bool special = bool_field(added, "special", false);
      add_token(v, static_cast<size_t>(id), content, special ? PieceType::kControl : PieceType::kUserDefined);
    }
  }
  for (size_t id = 0; id < v.tokens.size() && !unknown.empty(); ++id) {
    if (v.tokens[id] != unknown) continue;
    v.unknown = static_cast<int32_t>(id);
    if (byte_fallback) v.token_types[id] = PieceType::kUnknown;
  }
  v.merges = read_merges(model);
  if (!byte_fallback) {
    v.model = "gpt2";
    v.pre = gguf_pre_tokenizer_name(json);
    return v;
  }
  v.model = "llama";
  v.scores = scores_of_merges(v);
  v.merges.clear();
  v.add_space_prefix = puts_space_in_front(json);
  return v;
}

GgufVocabulary from_sentencepiece(const SentencePieceModel& model) {
  if (model.type != SentencePieceModel::kBpe)
    refuse("its tokenizer.model is no BPE, and GGUF's readers know BPE");
  GgufVocabulary v;
  v.model = "llama";
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    add_token(v, id, piece.text, static_cast<int32_t>(piece.type));
    v.scores.push_back(piece.score);
    if (piece.type == PieceType::kUnknown) v.unknown = static_cast<int32_t>(id);
  }
  v.add_space_prefix = model.dummy_prefix;
  return v;
}

// ---- the whole -------------------------------------------------------------------------------------------

void set_surroundings(GgufVocabulary& v, const Tokenizer& tokenizer, const fs::path& folder) {
  v.bos = tokenizer.bos_id();
  v.eos = tokenizer.eos_id();
  v.add_bos = tokenizer.add_bos();
  v.add_eos = tokenizer.add_eos();
  const fs::path path = folder / "tokenizer_config.json";
  const Json config = fs::exists(path) ? Json::parse(read_text_file(path)) : Json::object();
  v.chat_template = ChatTemplate::find_source(folder).value_or("");
  const Json* const pad = field(config, "pad_token");
  if (pad == nullptr) return;
  const std::string name = pad->is_object() ? string_field(*pad, "content") : pad->get<std::string>();
  const auto found = std::find(v.tokens.begin(), v.tokens.end(), name);
  if (found != v.tokens.end()) v.padding = static_cast<int32_t>(found - v.tokens.begin());
}

// Ids without a token, and those that the model has beyond the tokenizer's, as llama.cpp's converter names
// them.
void fill_unused(GgufVocabulary& v, size_t vocab_size) {
  if (v.tokens.size() > vocab_size)
    refuse("it has " + std::to_string(v.tokens.size()) + " tokens, and the model " +
           std::to_string(vocab_size));
  for (size_t id = 0; id < vocab_size; ++id) {
    if (id < v.tokens.size() && !v.tokens[id].empty()) continue;
    add_token(v, id, "[PAD" + std::to_string(id) + "]", PieceType::kUnused);
  }
  if (v.model == "llama") v.scores.resize(vocab_size);
}

void expect_same_ids(const GgufVocabulary& v, const Tokenizer& tokenizer) {
  const Tokenizer back = Tokenizer::from_gguf(v, "the GGUF file");
  for (const auto special : {SpecialTokens::kText, SpecialTokens::kParse}) {
    // A space in front of the first part alone, not of what follows a special token (Mistral's), has no key.
    if (special == SpecialTokens::kParse && v.model == "llama") continue;
    if (back.encode(kSample, special) != tokenizer.encode(kSample, special))
      refuse("read back, it would give other ids (a normalizer or a rule that GGUF has no key for?)");
  }
}

}  // namespace

std::string gguf_pre_tokenizer_name(const Json& tokenizer) {
  const Json wanted = flattened(field(tokenizer, "pre_tokenizer"));
  const Json normalizer = flattened(field(tokenizer, "normalizer"));
  const bool ignore_merges = bool_field(required(tokenizer, "model"), "ignore_merges", false);
  // First a name that stands for all three; llama.cpp itself normalizes nothing, so the normalizer yields
  // first. Whether the ids are the same is seen afterwards, in every case.
  std::string nearly, barely;
  for (const std::string& name : names_by_preference()) {
    const Json known = gguf_pre_tokenizer(name, {});
    if (flattened(&known["pre_tokenizer"]) != wanted) continue;
    const bool same_normalizer = flattened(&known["normalizer"]) == normalizer;
    const bool same_merging = known["ignore_merges"] == ignore_merges;
    if (same_normalizer && same_merging) return name;
    if (same_merging && nearly.empty()) nearly = name;
    if (barely.empty()) barely = name;
  }
  if (!nearly.empty() || !barely.empty()) return nearly.empty() ? barely : nearly;
  refuse("GGUF names pre-tokenizers, and none of the names that are known stands for its own");
}

GgufVocabulary gguf_vocabulary_of(const fs::path& folder, size_t vocab_size) {
  const Tokenizer tokenizer = Tokenizer::load(folder);  // says where the folder has none
  const fs::path json = folder / "tokenizer.json", model = folder / "tokenizer.model";
  GgufVocabulary v;
  try {
    v = fs::exists(json) ? from_tokenizer_json(parse_tokenizer_json(read_text_file(json), json))
                         : from_sentencepiece(parse_sentencepiece_model(read_text_file(model), model));
    set_surroundings(v, tokenizer, folder);
  } catch (const Json::exception& e) {
    refuse(std::string("one of its files is not as expected: ") + e.what());
  }
  fill_unused(v, vocab_size);
  expect_same_ids(v, tokenizer);
  return v;
}

}  // namespace fathom
