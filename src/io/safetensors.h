#pragma once
// safetensors: an 8-byte little-endian header length, a JSON header, the tensors' bytes. Every number in it
// is untrusted. Format: https://github.com/huggingface/safetensors (README, "Format").

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/types.h"

namespace fathom {

struct TensorView {
  std::string dtype;  ///< "F64", "F32", "F16", "BF16", ...
  std::vector<size_t> shape;
  const std::byte* data = nullptr;
  size_t size_bytes = 0;
  uint64_t offset = 0;  ///< in the file

  size_t elements() const;
};

/// A memory-mapped safetensors file. Errors: Error naming file, tensor, byte, what was expected and what
/// found: a header that is cut short, too long or no JSON, offsets outside the file or overlapping or leaving
/// holes, a size that does not match shape and type, a name that stands twice.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  const std::filesystem::path& path() const { return file_.path(); }
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// Errors: Error where there is no such tensor.
  const TensorView& at(const std::string& name) const;

 private:
  MappedFile file_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// Converts a tensor of F64, F32, F16 or BF16 into `out` (elements()). Errors: Error on another type.
template <class S>
void read_tensor(S* out, const TensorView& tensor, const std::string& name,
                 const std::filesystem::path& path);

/// What a header calls a type: "F64", "F32", "BF16".
const char* file_type_name(DType type);

/// A tensor to be written: values of type `memory`, stored as `stored`: the same, or the next narrower.
struct TensorToWrite {
  std::string name;
  std::vector<size_t> shape;
  const void* data;
  DType memory;
  DType stored;
};

/// Writes atomically, tensors in the given order. Errors: Error (disk full and the like).
void write_safetensors(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace fathom
