#include "text/windows.h"

#include <algorithm>
#include <limits>
#include <string>

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/json.h"
#include "text/corpus.h"
#include "text/text_error.h"
#include "text/white_space.h"

namespace fathom {
namespace {

constexpr uint64_t kMaxIds = uint64_t{1} << 32;  // 16 GiB: more is a mistake, not a probe

std::vector<int32_t> ids_from(const nlohmann::json& json, size_t vocab_size,
                              const std::filesystem::path& path, size_t sequence) {
  const std::string where = "sequence " + std::to_string(sequence);
  if (!json.is_array()) fail_in(path, where + " is not an array of ids", "give [[1, 2, 3], ...]");
  if (json.size() < 2) fail_in(path, where + " has fewer than two ids, and so no target", "leave it out");
  const uint64_t limit = vocab_size == 0 ? uint64_t{std::numeric_limits<int32_t>::max()} + 1 : vocab_size;
  std::vector<int32_t> ids;
  ids.reserve(json.size());
  for (const nlohmann::json& id : json) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= limit) {
      fail_in(path,
              where + " holds " + id.dump().substr(0, 40) + " where an id from 0 to " +
                  std::to_string(limit - 1) + " is wanted",
              "do the ids come from this model's tokenizer?");
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

}  // namespace

JoinedText join_documents(const Tokenizer& tokenizer, const std::vector<std::filesystem::path>& paths,
                          uint64_t max_tokens) {
  const uint64_t limit = max_tokens == 0 ? kMaxIds : std::min(max_tokens, kMaxIds);
  JoinedText joined;
  CorpusReader corpus(paths);
  for (Document document; joined.ids.size() < limit && corpus.next(document);) {
    if (document.index > 0) joined.ids.push_back(tokenizer.required_eos_id());
    const std::vector<int32_t> more = tokenizer.encode(document.text);
    joined.ids.insert(joined.ids.end(), more.begin(), more.end());
    joined.bytes += document.text.size();
    joined.words += count_words(document.text);
  }
  joined.ids.resize(std::min<uint64_t>(joined.ids.size(), limit));
  return joined;
}

TokenSequences text_to_windows(const Tokenizer& tokenizer, const std::vector<std::filesystem::path>& paths,
                               size_t seq, uint64_t max_tokens) {
  if (seq == 0) usage_error("a sequence length of 0", "give --seq 1 or more");
  const std::vector<int32_t> ids = join_documents(tokenizer, paths, max_tokens).ids;
  TokenSequences windows;
  for (size_t begin = 0; begin < ids.size(); begin += seq) {
    std::vector<int32_t> window;
    if (tokenizer.add_bos()) window.push_back(tokenizer.bos_id());
    const size_t end = std::min(ids.size(), begin + seq);
    window.insert(window.end(), ids.begin() + static_cast<std::ptrdiff_t>(begin),
                  ids.begin() + static_cast<std::ptrdiff_t>(end));
    if (window.size() >= 2) windows.push_back(std::move(window));
  }
  if (windows.empty())
    fail_in(paths.front(), "gives no window of two tokens or more", "give more text, or a larger --seq");
  return windows;
}

TokenSequences read_token_ids_json(const std::filesystem::path& path, size_t vocab_size) {
  nlohmann::json json;
  try {
    json = parse_json(read_text_file(path, size_t{1} << 30));
  } catch (const nlohmann::json::exception& e) {
    fail_in(path, std::string("is not valid JSON: ") + std::string(e.what()).substr(0, 120),
            "give [[1, 2, 3], ...]");
  }
  if (!json.is_array() || json.empty())
    fail_in(path, "is not an array of sequences of ids", "give [[1, 2, 3], ...]");
  TokenSequences sequences;
  for (const nlohmann::json& sequence : json) {
    sequences.push_back(ids_from(sequence, vocab_size, path, sequences.size()));
  }
  return sequences;
}

}  // namespace fathom
