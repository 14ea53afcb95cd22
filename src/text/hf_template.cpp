#include "text/hf_template.h"

namespace fathom {
namespace {

/// Ids in front of a text and behind it.
struct Surroundings {
  bool given = false;
  std::vector<int32_t> before, after;
};

void read_template(const Json& json, Surroundings& around) {
  around.given = true;
  bool seen = false;
  for (const Json& piece : array_field(json, "single")) {
    if (field(piece, "Sequence")) {
      seen = true;
      continue;
    }
    const std::string name = string_field(required(piece, "SpecialToken"), "id");
    const Json& token = required(required(json, "special_tokens"), name.c_str());
    for (const Json& id : array_field(token, "ids"))
      (seen ? around.after : around.before).push_back(id_of(id, "'" + name + "'"));
  }
}

/// BERT's and RoBERTa's: "cls" and "sep" as ["<s>", 0].
int32_t pair_id(const Json& json, const char* key) {
  const Json& pair = array_field(json, key);
  if (pair.size() != 2) fail_field(key, "a token and its id", pair);
  return id_of(pair[1], key);
}

void read_post_processor(const Json& json, Surroundings& around, int depth) {
  if (json.is_null()) return;
  if (depth > kMaxNesting) fail("its post-processors are nested too deeply");
  const std::string type = string_field(json, "type");
  if (type == "ByteLevel") return;  // about offsets only
  if (type == "Sequence") {
    for (const Json& step : array_field(json, "processors")) read_post_processor(step, around, depth + 1);
  } else if (type == "TemplateProcessing") {
    read_template(json, around);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    around = {true, {pair_id(json, "cls")}, {pair_id(json, "sep")}};
  } else {
    fail("its post-processor '" + type + "' is not supported");
  }
}

int32_t only_id(const std::vector<int32_t>& ids, const char* side, const TokenList& tokens) {
  if (ids.empty()) return -1;
  if (ids.size() > 1)
    fail("its post-processor puts " + std::to_string(ids.size()) + " tokens " + side +
         " a text, which is not supported");
  if (static_cast<size_t>(ids[0]) >= tokens.by_id.size())
    fail("its post-processor names the id " + std::to_string(ids[0]) + " of a vocabulary of " +
         std::to_string(tokens.by_id.size()));
  return ids[0];
}

int32_t first_known(std::initializer_list<const char*> names, const TokenList& tokens) {
  for (const char* name : names) {
    if (const int32_t id = tokens.find(name); id >= 0) return id;
  }
  return -1;
}

}  // namespace

void set_surroundings(TokenizerParts& parts, const Json& post_processor, const TokenizerConfig& config,
                      const TokenList& tokens) {
  Surroundings around;
  read_post_processor(post_processor, around, 0);
  const int32_t before = only_id(around.before, "before", tokens),
                after = only_id(around.after, "behind", tokens);
  parts.bos_id = config.bos_token.empty() ? before : tokens.find(config.bos_token);
  parts.eos_id = config.eos_token.empty() ? after : tokens.find(config.eos_token);
  if (parts.bos_id < 0 && config.bos_token.empty())
    parts.bos_id = first_known({"<s>", "<bos>", "<|begin_of_text|>", "<｜begin▁of▁sentence｜>"}, tokens);
  if (parts.eos_id < 0 && config.eos_token.empty())
    parts.eos_id = first_known(
        {"</s>", "<eos>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "<|endoftext|>", "<|im_end|>"}, tokens);
  if (config.rules_over_template()) {
    parts.add_bos = config.add_bos.value_or(true) && parts.bos_id >= 0;
    parts.add_eos = config.add_eos.value_or(false) && parts.eos_id >= 0;
  } else if (around.given) {
    parts.add_bos = before >= 0;
    parts.add_eos = after >= 0;
    if (before >= 0) parts.bos_id = before;
  } else {
    parts.add_bos = config.add_bos.value_or(false) && parts.bos_id >= 0;
    parts.add_eos = config.add_eos.value_or(false) && parts.eos_id >= 0;
  }
}

}  // namespace fathom
