#include "text/dataset.h"

#include <algorithm>
#include <charconv>

#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/log.h"
#include "core/threads.h"
#include "text/text_error.h"

namespace fathom {
namespace {

const char* const kMakeIt = "make the data with `fathom data`";

SplitInfo split_from(const nlohmann::json& json) {
  SplitInfo split;
  split.tokens = json.at("tokens").get<uint64_t>();
  split.documents = json.at("documents").get<uint64_t>();
  split.bytes = json.at("bytes").get<uint64_t>();
  split.files = json.at("files").get<std::vector<std::string>>();
  return split;
}

uint64_t parse_fingerprint(const std::string& text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

DataInfo read_info(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "data.json";
  if (!std::filesystem::is_directory(folder)) fail_in(folder, "no such data folder", kMakeIt);
  if (!std::filesystem::exists(path)) fail_in(folder, "holds no complete data (no data.json)", kMakeIt);
  try {
    const nlohmann::json json = read_json(path);
    if (json.at("format") != "fathom-data" || json.at("version") != 1)
      fail_in(path, "is of another version", kMakeIt);
    DataInfo info;
    info.vocab_size = json.at("vocab_size").get<uint32_t>();
    info.eos_id = json.at("eos_id").get<int32_t>();
    info.tokenizer_fingerprint = parse_fingerprint(json.at("tokenizer_fingerprint").get<std::string>());
    info.seed = json.at("seed").get<uint64_t>();
    info.valid_fraction = json.at("valid_fraction").get<double>();
    info.inputs = json.at("inputs").get<std::vector<std::string>>();
    info.train = split_from(json.at("train"));
    info.valid = split_from(json.at("valid"));
    return info;
  } catch (const nlohmann::json::exception& e) {
    fail_in(path, std::string("is damaged: ") + std::string(e.what()).substr(0, 120), kMakeIt);
  }
}

std::unique_ptr<TokenStream> open_split(const std::filesystem::path& folder, const DataInfo& info,
                                        const SplitInfo& split) {
  std::vector<Shard> shards;
  uint64_t tokens = 0, documents = 0;
  for (const std::string& file : split.files) {
    const std::filesystem::path path = folder / std::filesystem::path(file).filename();
    const ShardInfo& shard = shards.emplace_back(path).info();
    if (shard.vocab_size != info.vocab_size || shard.eos_id != info.eos_id ||
        shard.tokenizer_fingerprint != info.tokenizer_fingerprint) {
      fail_in(path, "was made with another tokenizer than data.json says", kMakeIt);
    }
    tokens += shard.tokens;
    documents += shard.documents;
  }
  if (tokens != split.tokens || documents != split.documents) {
    fail_in(folder,
            "its shards hold " + std::to_string(tokens) + " tokens where data.json says " +
                std::to_string(split.tokens),
            kMakeIt);
  }
  return std::make_unique<TokenStream>(std::move(shards));
}

}  // namespace

TokenStream::TokenStream(std::vector<Shard> shards) : shards_(std::move(shards)), begins_{0} {
  for (const Shard& shard : shards_) begins_.push_back(begins_.back() + shard.info().tokens);
}

void TokenStream::read(uint64_t begin, size_t n, int32_t* out) const {
  auto shard =
      static_cast<size_t>(std::upper_bound(begins_.begin(), begins_.end(), begin) - begins_.begin()) - 1;
  for (; n > 0; ++shard) {
    const size_t part = static_cast<size_t>(std::min<uint64_t>(n, begins_[shard + 1] - begin));
    shards_[shard].read(begin - begins_[shard], part, out);
    begin += part;
    out += part;
    n -= part;
  }
}

void warn_of_other_tokenizer(const TokenData& data, const std::filesystem::path& model) {
  if (!std::filesystem::exists(model / "tokenizer.json") &&
      !std::filesystem::exists(model / "tokenizer.model"))
    return;
  const uint64_t own = Tokenizer::load(model).fingerprint(), made_with = data.info().tokenizer_fingerprint;
  if (own == made_with) return;
  log_warning(data.folder().string() + " was made with another tokenizer (" + fingerprint_text(made_with) +
              ") than stands in " + model.string() + " (" + fingerprint_text(own) +
              "): the same ids may stand for other text");
}

TokenData::TokenData(const std::filesystem::path& folder)
    : folder_(folder),
      info_(read_info(folder)),
      train_(open_split(folder, info_, info_.train)),
      valid_(open_split(folder, info_, info_.valid)) {}

void TokenData::verify() const {
  const size_t train = train_->shards().size();
  parallel_for(train + valid_->shards().size(),
               [&](size_t i) { (i < train ? train_->shards()[i] : valid_->shards()[i - train]).verify(); });
}

}  // namespace fathom
