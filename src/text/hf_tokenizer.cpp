#include "text/hf_tokenizer.h"

#include <algorithm>

#include "text/hf_template.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/subword_model.h"
#include "text/text_error.h"
#include "text/token_texts.h"
#include "text/utf8.h"

namespace fathom {
namespace {

class HfEncoder final : public TextEncoder {
 public:
  AddedTokenFinder raw_tokens, normalized_tokens;
  std::unique_ptr<const Normalizer> normalizer;
  std::unique_ptr<const PreTokenizer> pre_tokenizer;
  std::unique_ptr<const SubwordModel> model;

  void encode(std::string_view text, SpecialTokens special, EncodeWorkspace& workspace,
              std::vector<int32_t>& out) const override {
    for (bool at_start = true; !text.empty(); at_start = false) {
      const size_t stray = find_invalid_utf8(text);
      encode_valid(text.substr(0, stray), at_start, special, workspace, out);
      if (stray == std::string_view::npos) return;
      model->encode_stray_byte(static_cast<unsigned char>(text[stray]), out);
      text.remove_prefix(stray + 1);
    }
  }

 private:
  void encode_valid(std::string_view text, bool at_start, SpecialTokens special, EncodeWorkspace& workspace,
                    std::vector<int32_t>& out) const {
    for (const TextPart& part : raw_tokens.split(text, special)) {
      if (part.id != TextPart::kNone) {
        out.push_back(part.id);
        continue;
      }
      std::string normalized(text.substr(part.begin, part.end - part.begin));
      if (normalizer) normalizer->apply(normalized, workspace.regex);
      encode_normalized(std::move(normalized), at_start && part.begin == 0, special, workspace, out);
    }
  }

  void encode_normalized(std::string text, bool at_start, SpecialTokens special, EncodeWorkspace& workspace,
                         std::vector<int32_t>& out) const {
    if (normalized_tokens.empty()) return encode_section(std::move(text), at_start, workspace, out);
    for (const TextPart& part : normalized_tokens.split(text, special)) {
      if (part.id != TextPart::kNone)
        out.push_back(part.id);
      else
        encode_section(text.substr(part.begin, part.end - part.begin), at_start && part.begin == 0, workspace,
                       out);
    }
  }

  void encode_section(std::string text, bool at_start, EncodeWorkspace& workspace,
                      std::vector<int32_t>& out) const {
    if (text.empty()) return;
    if (!pre_tokenizer) return model->encode(text, workspace.words, out);
    Pieces pieces{.text = std::move(text), .ranges = {}, .at_start = at_start};
    pieces.ranges.push_back({0, pieces.text.size()});
    pre_tokenizer->apply(pieces, workspace.regex);
    const std::string_view all = pieces.text;
    for (const auto& [begin, end] : pieces.ranges)
      model->encode(all.substr(begin, end - begin), workspace.words, out);
  }
};

const Json& field_or_null(const Json& json, const char* key) {
  static const Json null;
  const Json* const value = field(json, key);
  return value ? *value : null;
}

/// The added tokens, with their ids: the vocabulary's where it has the token, else the next free one,
/// whatever the file says (tokenizers, added_vocabulary.rs).
std::vector<AddedToken> read_added_tokens(const Json& json, TokenList& tokens) {
  std::vector<AddedToken> added;
  const size_t vocabulary = tokens.ids.size();
  auto next = static_cast<int32_t>(vocabulary);
  if (!field(json, "added_tokens")) return added;
  const Json& list = array_field(json, "added_tokens");
  for (const Json& entry : list) {
    AddedToken token;
    token.content = string_field(entry, "content");
    token.special = bool_field(entry, "special", false);
    token.single_word = bool_field(entry, "single_word", false);
    token.lstrip = bool_field(entry, "lstrip", false);
    token.rstrip = bool_field(entry, "rstrip", false);
    token.normalized = bool_field(entry, "normalized", !token.special);
    id_of(required(entry, "id"), "added token '" + token.content + "'");
    if (token.content.empty()) continue;
    token.id = tokens.find(token.content);
    if (token.id < 0) token.id = next;
    next = std::max(next, token.id + 1);
    tokens.add(token.content, token.id, vocabulary + list.size());
    added.push_back(std::move(token));
  }
  // Of equal patterns the first counts: special ones come first.
  std::stable_sort(added.begin(), added.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.special > b.special; });
  return added;
}

void find_added_tokens(HfEncoder& encoder, const std::vector<AddedToken>& added) {
  std::vector<AddedToken> raw, normalized;
  RegexScratch scratch;
  for (AddedToken token : added) {
    if (token.normalized && encoder.normalizer) encoder.normalizer->apply(token.content, scratch);
    if (!token.content.empty()) (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  encoder.raw_tokens = AddedTokenFinder(std::move(raw));
  encoder.normalized_tokens = AddedTokenFinder(std::move(normalized));
}

TokenizerParts build(const Json& json, const TokenizerConfig& config) {
  TokenizerParts parts;
  auto encoder = std::make_unique<HfEncoder>();
  TokenList tokens;
  bool byte_level = false;
  encoder->normalizer = make_normalizer(field_or_null(json, "normalizer"));
  encoder->pre_tokenizer = make_pre_tokenizer(field_or_null(json, "pre_tokenizer"), byte_level);
  encoder->model = make_subword_model(required(json, "model"), byte_level, tokens);
  const std::vector<AddedToken> added = read_added_tokens(json, tokens);
  find_added_tokens(*encoder, added);
  const TokenDecoder decoder(field_or_null(json, "decoder"));
  parts.drops_first_space = decoder.drops_first_space();
  parts.texts.reserve(tokens.by_id.size());
  for (const std::string& token : tokens.by_id) parts.texts.push_back(decoder.text_of(token));
  for (const AddedToken& token : added) {
    if (token.special) parts.texts[static_cast<size_t>(token.id)].clear();
  }
  set_surroundings(parts, field_or_null(json, "post_processor"), config, tokens);
  parts.encoder = std::move(encoder);
  return parts;
}

constexpr const char* kHint = "is it a tokenizer.json of Hugging Face's tokenizers, and complete?";

}  // namespace

TokenizerParts make_hf_tokenizer(const Json& json, const TokenizerConfig& config,
                                 const std::filesystem::path& path) {
  try {
    return build(json, config);
  } catch (const Error& e) {
    fail_in(path, "cannot be used as a tokenizer: " + e.fields().what, kHint);
  }
}

Json parse_tokenizer_json(std::string_view text, const std::filesystem::path& path) {
  try {
    return Json::parse(text);
  } catch (const Json::exception& e) {
    fail_in(path, std::string("is not a tokenizer.json: ") + std::string(e.what()).substr(0, 120), kHint);
  }
}

}  // namespace fathom
