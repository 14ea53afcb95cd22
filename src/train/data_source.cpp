#include "train/data_source.h"

#include <fmt/format.h>

#include "core/format.h"
#include "core/rng.h"

namespace fathom {

ShardSource::ShardSource(const std::filesystem::path& folder, size_t seq, uint64_t seed)
    : data_(folder), loader_(data_, seq, seed) {
  data_.verify();
}

std::string ShardSource::fingerprint() const { return data_fingerprint(data_); }

std::string ShardSource::description() const {
  return fmt::format("{} training tokens, {} for validation", count_text(data_.train().size()),
                     count_text(data_.valid().size()));
}

std::string data_fingerprint(const TokenData& data) {
  const DataInfo& info = data.info();
  uint64_t hash = mix64(info.tokenizer_fingerprint ^ info.vocab_size);
  const auto add = [&](uint64_t value) { hash = mix64(hash * 0x9e3779b97f4a7c15ull + value); };
  for (const TokenStream* stream : {&data.train(), &data.valid()}) {
    add(stream->size());
    for (const Shard& shard : stream->shards()) add(shard.info().checksum);
  }
  return fingerprint_text(hash);
}

}  // namespace fathom
