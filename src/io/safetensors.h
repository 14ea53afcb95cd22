#pragma once
// safetensors: an 8-byte little-endian header length, a JSON header, the tensors' bytes. Every number in it
// is untrusted. Format: https://github.com/huggingface/safetensors (README, "Format").

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/progress.h"
#include "core/types.h"
#include "io/tensor_store.h"

namespace fathom {

/// One file. Errors: Error naming file, tensor, byte, what was expected and what found: a header that is cut
/// short, too long or no JSON, offsets outside the file or overlapping or leaving holes, a size that does not
/// match shape and type, a name that stands twice.
class SafetensorsFile : public TensorStore {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::map<std::string, std::string> metadata_;
};

/// Writes a file piece by piece, so that no tensor need be in memory as a whole: the header comes first, the
/// bytes of the tensors follow in its order. The file has its name only after commit(). Errors: Error (disk
/// full and the like).
class SafetensorsWriter {
 public:
  struct Entry {
    std::string name;
    StoredType type;  ///< a plain one
    std::vector<size_t> shape;
  };
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<Entry>& tensors,
                    const std::map<std::string, std::string>& metadata = {});
  void write(const void* data, size_t bytes) { file_.write(data, bytes); }
  void commit();

 private:
  AtomicFile file_;
  uint64_t end_ = 0;  // where the last tensor ends
};

/// What stands in front of the tensors' bytes, and how many these are: for one who writes them in an order of
/// his own.
struct SafetensorsHeader {
  std::string text;
  uint64_t data_bytes;
};
SafetensorsHeader safetensors_header(const std::filesystem::path& path,
                                     const std::vector<SafetensorsWriter::Entry>& tensors,
                                     const std::map<std::string, std::string>& metadata);

/// A tensor to be written: values of type `memory`, stored as `stored`: the same, or the next narrower.
struct TensorToWrite {
  std::string name;
  std::vector<size_t> shape;
  const void* data;
  DType memory;
  DType stored;
};

/// Writes atomically, tensors in the given order; `written`, where given, hears of each its elements. Errors:
/// Error (disk full and the like).
void write_safetensors(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata = {},
                       CountedWork* written = nullptr);

/// A tensor whose fp32 values are made when their turn comes, so that a model larger than memory is written a
/// tensor at a time.
struct TensorToMake {
  std::string name;
  std::vector<size_t> shape;
  StoredType stored;  ///< kF32, kF16 or kBf16
  std::function<void(float* out)> make;
};
void write_safetensors(const std::filesystem::path& path, const std::vector<TensorToMake>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace fathom
