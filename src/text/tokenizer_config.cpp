#include "text/tokenizer_config.h"

#include <algorithm>

#include "core/file.h"
#include "core/tokenizer_files.h"
#include "text/text_error.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigFile = "tokenizer_config.json";
constexpr const char* kMapFile = "special_tokens_map.json";
constexpr const char* kAddedFile = "added_tokens.json";

/// A token is written as "<s>" or as {"content": "<s>", ...}.
std::string token_field(const Json& json, const char* key) {
  const Json* const value = field(json, key);
  return value && value->is_object() ? string_field(*value, "content") : string_field(json, key, "");
}

std::optional<bool> optional_bool(const Json& json, const char* key) {
  if (!field(json, key)) return std::nullopt;
  return bool_field(json, key, false);
}

int32_t added_id(const Json& value) {
  const bool fits =
      value.is_number_integer() && value.get<int64_t>() >= 0 && value.get<int64_t>() <= INT32_MAX;
  if (!fits) fail("holds " + brief(value) + " where a token id is wanted");
  return value.get<int32_t>();
}

void add_token(std::vector<AddedToken>& tokens, AddedToken token) {
  const auto same = [&](const AddedToken& t) { return t.id == token.id; };
  if (!token.content.empty() && std::none_of(tokens.begin(), tokens.end(), same))
    tokens.push_back(std::move(token));
}

// {"32000": {"content": "<|im_start|>", "special": true, ...}}
void read_decoder(const Json& decoder, std::vector<AddedToken>& tokens) {
  for (const auto& [id, entry] : decoder.items()) {
    const bool digits = !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == id.npos;
    if (!digits) fail("names the token id '" + id + "'");
    add_token(tokens, {.content = string_field(entry, "content"),
                       .id = std::stoi(id),
                       .special = bool_field(entry, "special", false),
                       .single_word = bool_field(entry, "single_word", false),
                       .lstrip = bool_field(entry, "lstrip", false),
                       .rstrip = bool_field(entry, "rstrip", false),
                       .normalized = false});
  }
}

/// Calls read(json) on the file's content where it exists.
template <class Read>
void read_json(const fs::path& path, Read read) {
  if (!fs::exists(path)) return;
  try {
    read(Json::parse(read_text_file(path)));
  } catch (const Json::exception&) {
    fail_in(path, "is not valid JSON", "download it again");
  } catch (const Error& e) {
    if (!e.fields().path.empty()) throw;
    fail_in(path, "is not a valid tokenizer config: " + e.fields().what, "download it again");
  }
}

}  // namespace

bool TokenizerConfig::rules_over_template() const {
  for (const char* family : {"Llama", "CodeLlama", "Gemma"}) {
    if (tokenizer_class == std::string(family) + "Tokenizer" ||
        tokenizer_class == std::string(family) + "TokenizerFast")
      return true;
  }
  return false;
}

TokenizerConfig tokenizer_config_of(const Json& json) {
  TokenizerConfig config;
  config.tokenizer_class = string_field(json, "tokenizer_class", "");
  config.add_bos = optional_bool(json, "add_bos_token");
  config.add_eos = optional_bool(json, "add_eos_token");
  config.bos_token = token_field(json, "bos_token");
  config.eos_token = token_field(json, "eos_token");
  if (const Json* decoder = field(json, "added_tokens_decoder")) read_decoder(*decoder, config.added);
  return config;
}

bool is_tokenizer_file(std::string_view name) {
  return std::any_of(std::begin(kTokenizerFiles), std::end(kTokenizerFiles),
                     [&](const char* file) { return name.starts_with(file); });
}

TokenizerConfig read_tokenizer_config(const fs::path& folder) {
  TokenizerConfig config;
  read_json(folder / kConfigFile, [&](const Json& json) { config = tokenizer_config_of(json); });
  read_json(folder / kMapFile, [&](const Json& json) {
    if (config.bos_token.empty()) config.bos_token = token_field(json, "bos_token");
    if (config.eos_token.empty()) config.eos_token = token_field(json, "eos_token");
  });
  // {"<|im_start|>": 32000}; what kind of token it is, only the decoder says: markers, as a rule.
  read_json(folder / kAddedFile, [&](const Json& json) {
    for (const auto& [content, id] : json.items())
      add_token(config.added, {.content = content, .id = added_id(id), .special = true});
  });
  return config;
}

TokenizerFiles files_beside(const fs::path& folder, std::string_view source) {
  TokenizerFiles files;
  for (const char* name : kTokenizerFiles) {
    if (name != source && fs::exists(folder / name)) files.emplace_back(name, read_text_file(folder / name));
  }
  return files;
}

}  // namespace fathom
