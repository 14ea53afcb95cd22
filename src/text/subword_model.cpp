#include "text/subword_model.h"

namespace fathom {

void TokenList::add(const std::string& token, int32_t id, size_t expected) {
  // Vocabularies have gaps, but ids decide how much memory a model takes.
  if (id < 0 || static_cast<size_t>(id) >= 2 * expected + 65536)
    fail("the id " + std::to_string(id) + " is far beyond its " + std::to_string(expected) + " tokens");
  const auto at = static_cast<size_t>(id);
  if (at >= by_id.size()) by_id.resize(at + 1);
  if (!by_id[at].empty() && by_id[at] != token)
    fail("two tokens have the id " + std::to_string(id) + ": '" + by_id[at] + "' and '" + token + "'");
  by_id[at] = token;
  ids[token] = id;
}

int32_t TokenList::find(const std::string& token) const {
  const auto it = ids.find(token);
  return it == ids.end() ? -1 : it->second;
}

std::unique_ptr<const SubwordModel> make_subword_model(const Json& json, bool byte_level, TokenList& tokens) {
  std::string type = string_field(json, "type", "");
  if (type.empty()) {  // files older than the field
    if (field(json, "merges"))
      type = "BPE";
    else if (field(json, "vocab") && json["vocab"].is_array())
      type = "Unigram";
  }
  if (type == "BPE") return make_bpe_model(json, byte_level, tokens);
  if (type == "Unigram") return make_unigram_model(json, byte_level, tokens);
  fail("its model '" + type + "' is not supported (BPE and Unigram are)");
}

}  // namespace fathom
