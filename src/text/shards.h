#pragma once
// Token shards: documents as ids, one after the other, each ended by EOS; read through a memory map.
//
// A file is a header of 128 bytes and then `token_count` ids of `token_width` bytes (2 where the vocabulary
// has at most 65536 entries, else 4), all little-endian. The header, by byte: 0 magic "FATHOMTK", 8 version
// (u32), 12 header size (u32), 16 vocabulary size (u32), 20 token width (u32), 24 EOS id (u32), 28 zero
// (u32), 32 token count (u64), 40 document count (u64), 48 XXH3-64 of the ids (u64), 56 tokenizer fingerprint
// (u64), 64 zeros, 120 XXH3-64 of bytes 0 to 119 (u64).

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "core/file.h"

namespace fathom {

inline constexpr const char* kShardSuffix = ".fathom-tokens";

struct ShardInfo {
  uint32_t vocab_size = 0;
  uint32_t token_width = 2;
  int32_t eos_id = 0;
  uint64_t tokens = 0;
  uint64_t documents = 0;
  uint64_t checksum = 0;
  uint64_t tokenizer_fingerprint = 0;
};

/// Writes one shard; the file appears under its name at finish(). Errors: Error (a full disk is named).
class ShardWriter {
 public:
  ShardWriter(const std::filesystem::path& path, uint32_t vocab_size, int32_t eos_id,
              uint64_t tokenizer_fingerprint);
  ~ShardWriter();

  /// Appends the document `ids` and its EOS. Ids must be in [0, vocab_size).
  void add_document(std::span<const int32_t> ids);
  const ShardInfo& info() const;
  ShardInfo finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A shard opened for reading.
class Shard {
 public:
  /// Maps the file and checks its header, and its length against the header. Errors: Error where the file is
  /// missing, no shard, of another version, damaged in its header, or cut short.
  explicit Shard(const std::filesystem::path& path);

  const ShardInfo& info() const { return info_; }
  const std::filesystem::path& path() const { return file_.path(); }

  /// Copies the ids [begin, begin + n) to `out`; the range must lie inside the shard. Errors: Error for an id
  /// outside the vocabulary.
  void read(uint64_t begin, size_t n, int32_t* out) const;

  /// Reads every id: the checksum, the ids' range, the number of documents. Errors: Error for a difference.
  void verify() const;

 private:
  MappedFile file_;
  ShardInfo info_;
};

}  // namespace fathom
