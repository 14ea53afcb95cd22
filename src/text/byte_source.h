#pragma once
// Bytes of a file as a stream, decompressed where its name ends in .gz or .zst.

#include <cstdint>
#include <filesystem>
#include <memory>

namespace fathom {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills `out` with up to `n` bytes (n > 0) and returns how many; 0 at the end only. Errors: Error where
  /// the file can't be read, is damaged or cut short.
  virtual size_t read(char* out, size_t n) = 0;
  /// Bytes of the file itself read so far, for a progress bar.
  virtual uint64_t consumed() const = 0;
};

/// Opens `path`: gzip (any number of members) for .gz, zstd (frames with windows up to 2^27 bytes) for .zst,
/// plain bytes otherwise. Errors: Error where the file is missing or unreadable.
std::unique_ptr<ByteSource> open_byte_source(const std::filesystem::path& path);

}  // namespace fathom
