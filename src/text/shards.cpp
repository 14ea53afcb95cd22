#include "text/shards.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include <xxhash.h>

#include "text/text_error.h"

namespace fathom {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are little-endian, and mapped as they are");

constexpr std::array<char, 8> kMagic = {'F', 'A', 'T', 'H', 'O', 'M', 'T', 'K'};
constexpr uint32_t kVersion = 1;
const char* const kRemake = "make the data again with `fathom data`, or copy the file again";

struct Header {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kVersion;
  uint32_t header_size = sizeof(Header);
  uint32_t vocab_size = 0;
  uint32_t token_width = 0;
  uint32_t eos_id = 0;
  uint32_t zero = 0;
  uint64_t tokens = 0;
  uint64_t documents = 0;
  uint64_t checksum = 0;
  uint64_t tokenizer_fingerprint = 0;
  std::array<uint64_t, 7> zeros{};
  uint64_t header_checksum = 0;
};
static_assert(sizeof(Header) == 128 && std::is_trivially_copyable_v<Header>);

uint64_t checksum_of(const Header& header) { return XXH3_64bits(&header, offsetof(Header, header_checksum)); }

uint32_t width_for(uint32_t vocab_size) { return vocab_size <= 65536 ? 2 : 4; }

Header header_of(const ShardInfo& info) {
  Header header;
  header.vocab_size = info.vocab_size;
  header.token_width = info.token_width;
  header.eos_id = static_cast<uint32_t>(info.eos_id);
  header.tokens = info.tokens;
  header.documents = info.documents;
  header.checksum = info.checksum;
  header.tokenizer_fingerprint = info.tokenizer_fingerprint;
  header.header_checksum = checksum_of(header);
  return header;
}

/// Calls fn(begin, ids) for the payload in blocks of the given type.
template <class Id, class Fn>
void for_blocks(const std::byte* payload, uint64_t tokens, Fn fn) {
  constexpr uint64_t kBlock = uint64_t{1} << 18;
  for (uint64_t begin = 0; begin < tokens; begin += kBlock) {
    fn(begin, std::span(reinterpret_cast<const Id*>(payload) + begin, std::min(kBlock, tokens - begin)));
  }
}

struct Scan {
  uint64_t checksum = 0, documents = 0;
  std::optional<uint64_t> bad_token;  // the first id outside the vocabulary
};

template <class Id>
Scan scan(const std::byte* payload, const ShardInfo& info) {
  Scan result;
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> hash(XXH3_createState(), XXH3_freeState);
  if (!hash) throw std::bad_alloc();
  XXH3_64bits_reset(hash.get());
  for_blocks<Id>(payload, info.tokens, [&](uint64_t begin, std::span<const Id> ids) {
    XXH3_64bits_update(hash.get(), ids.data(), ids.size_bytes());
    result.documents +=
        static_cast<uint64_t>(std::count(ids.begin(), ids.end(), static_cast<Id>(info.eos_id)));
    if (result.bad_token || *std::max_element(ids.begin(), ids.end()) < info.vocab_size) return;
    const auto bad = std::find_if(ids.begin(), ids.end(), [&](Id id) { return id >= info.vocab_size; });
    result.bad_token = begin + static_cast<uint64_t>(bad - ids.begin());
  });
  result.checksum = XXH3_64bits_digest(hash.get());
  return result;
}

[[noreturn]] void fail_id(const Shard& shard, uint64_t token, int64_t id) {
  fail_in(shard.path(),
          "token id " + std::to_string(id) + " is outside the vocabulary of " +
              std::to_string(shard.info().vocab_size),
          kRemake, {}, sizeof(Header) + token * shard.info().token_width);
}

template <class Id>
void copy_ids(const Shard& shard, const std::byte* payload, uint64_t begin, size_t n, int32_t* out) {
  const Id* ids = reinterpret_cast<const Id*>(payload) + begin;
  Id largest = 0;
  for (size_t i = 0; i < n; ++i) {
    largest = std::max(largest, ids[i]);
    out[i] = static_cast<int32_t>(ids[i]);
  }
  if (n == 0 || largest < shard.info().vocab_size) return;
  const uint64_t at = static_cast<uint64_t>(std::max_element(ids, ids + n) - ids);
  fail_id(shard, begin + at, largest);
}

}  // namespace

struct ShardWriter::State {
  AtomicFile file;
  ShardInfo info;
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> hash{XXH3_createState(), XXH3_freeState};
  std::vector<uint16_t> narrow;

  void write(const void* data, size_t bytes) {
    XXH3_64bits_update(hash.get(), data, bytes);
    file.write(data, bytes);
  }
  void write_ids(std::span<const int32_t> ids) {
    if (info.token_width == 4) return write(ids.data(), ids.size_bytes());
    narrow.assign(ids.begin(), ids.end());
    write(narrow.data(), narrow.size() * sizeof(uint16_t));
  }
};

ShardWriter::ShardWriter(const std::filesystem::path& path, uint32_t vocab_size, int32_t eos_id,
                         uint64_t tokenizer_fingerprint)
    : state_(new State{.file = AtomicFile(path), .info = {}, .narrow = {}}) {
  state_->info.vocab_size = vocab_size;
  state_->info.token_width = width_for(vocab_size);
  state_->info.eos_id = eos_id;
  state_->info.tokenizer_fingerprint = tokenizer_fingerprint;
  if (!state_->hash) throw std::bad_alloc();
  XXH3_64bits_reset(state_->hash.get());
  const Header blank{};  // the counts come at the end
  state_->file.write(&blank, sizeof(blank));
}

ShardWriter::~ShardWriter() = default;

void ShardWriter::add_document(std::span<const int32_t> ids) {
  state_->write_ids(ids);
  state_->write_ids({&state_->info.eos_id, 1});
  state_->info.tokens += ids.size() + 1;
  ++state_->info.documents;
}

const ShardInfo& ShardWriter::info() const { return state_->info; }

ShardInfo ShardWriter::finish() {
  state_->info.checksum = XXH3_64bits_digest(state_->hash.get());
  const Header header = header_of(state_->info);
  state_->file.write_at(0, &header, sizeof(header));
  state_->file.commit();
  return state_->info;
}

Shard::Shard(const std::filesystem::path& path) : file_(path) {
  const std::span<const std::byte> bytes = file_.bytes();
  Header header;
  if (bytes.size() < sizeof(header) || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    fail_in(path, "is not a token shard", "name a folder made by `fathom data`");
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.version != kVersion) {
    fail_in(path,
            "is a token shard of version " + std::to_string(header.version) +
                ", and this program reads version " + std::to_string(kVersion),
            "make the data again with this version's `fathom data`");
  }
  if (header.header_checksum != checksum_of(header)) fail_in(path, "the header is damaged", kRemake);
  if (header.header_size != sizeof(Header) || header.token_width != width_for(header.vocab_size) ||
      header.eos_id >= header.vocab_size || header.vocab_size > std::numeric_limits<int32_t>::max()) {
    fail_in(path, "the header contradicts itself", kRemake);
  }
  const uint64_t payload = bytes.size() - sizeof(Header);
  if (payload % header.token_width != 0 || payload / header.token_width != header.tokens) {
    fail_in(path,
            "holds " + std::to_string(payload) + " bytes of tokens where its header says " +
                std::to_string(header.tokens) + " tokens of " + std::to_string(header.token_width) + " bytes",
            payload / header.token_width < header.tokens ? std::string("cut short? ") + kRemake : kRemake);
  }
  info_ = {header.vocab_size, header.token_width, static_cast<int32_t>(header.eos_id), header.tokens,
           header.documents,  header.checksum,    header.tokenizer_fingerprint};
}

void Shard::read(uint64_t begin, size_t n, int32_t* out) const {
  const std::byte* payload = file_.bytes().data() + sizeof(Header);
  if (info_.token_width == 2)
    copy_ids<uint16_t>(*this, payload, begin, n, out);
  else
    copy_ids<uint32_t>(*this, payload, begin, n, out);
}

void Shard::verify() const {
  const std::byte* payload = file_.bytes().data() + sizeof(Header);
  const Scan result =
      info_.token_width == 2 ? scan<uint16_t>(payload, info_) : scan<uint32_t>(payload, info_);
  if (result.checksum != info_.checksum)
    fail_in(path(), "the tokens are damaged: their checksum is wrong", kRemake);
  if (result.bad_token) {
    uint32_t id = 0;
    std::memcpy(&id, payload + *result.bad_token * info_.token_width, info_.token_width);
    fail_id(*this, *result.bad_token, id);
  }
  if (result.documents != info_.documents) {
    fail_in(path(),
            "holds " + std::to_string(result.documents) + " documents where its header says " +
                std::to_string(info_.documents),
            kRemake);
  }
}

}  // namespace fathom
