#include "text/tokenizer_config.h"

#include <algorithm>

#include "core/file.h"
#include "text/text_error.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigFile = "tokenizer_config.json";
constexpr const char* kMapFile = "special_tokens_map.json";

/// A token is written as "<s>" or as {"content": "<s>", ...}.
std::string token_field(const Json& json, const char* key) {
  const Json* const value = field(json, key);
  return value && value->is_object() ? string_field(*value, "content") : string_field(json, key, "");
}

std::optional<bool> optional_bool(const Json& json, const char* key) {
  if (!field(json, key)) return std::nullopt;
  return bool_field(json, key, false);
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
  return config;
}

TokenizerConfig read_tokenizer_config(const fs::path& folder) {
  TokenizerConfig config;
  read_json(folder / kConfigFile, [&](const Json& json) { config = tokenizer_config_of(json); });
  read_json(folder / kMapFile, [&](const Json& json) {
    if (config.bos_token.empty()) config.bos_token = token_field(json, "bos_token");
    if (config.eos_token.empty()) config.eos_token = token_field(json, "eos_token");
  });
  return config;
}

TokenizerFiles files_beside(const fs::path& folder, std::string_view source) {
  TokenizerFiles files;
  for (const char* name : {"tokenizer.json", "tokenizer.model", kConfigFile, kMapFile, "added_tokens.json",
                           "chat_template.jinja", "chat_template.json"}) {
    if (name != source && fs::exists(folder / name)) files.emplace_back(name, read_text_file(folder / name));
  }
  return files;
}

}  // namespace fathom
