#pragma once
// A checkpoint as named tensors in memory maps, whatever its format: one safetensors file, a folder of them
// with an index, a GGUF file or its parts.
//
// Goals: opening costs the headers alone, so that a 700 GB checkpoint opens in seconds; what a store hands
// out lies inside its file, and every size, offset and product was checked. Non-goals: what the values mean
// (dequantize.h), which tensors a model has (checkpoint.h), writing.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/file.h"
#include "io/stored_type.h"

namespace fathom {

/// A tensor in a file. A copy keeps the map alive.
struct TensorView {
  std::string name;
  StoredType type = StoredType::kF32;
  std::vector<size_t> shape;  ///< Outermost dimension first, as Hugging Face writes it (GGUF's turned round).
  const std::byte* data = nullptr;  ///< Aligned to nothing.
  size_t size_bytes = 0;
  uint64_t offset = 0;  ///< Of `data` in the file.
  std::shared_ptr<const MappedFile> file;

  size_t elements() const;
  /// The tensor as a matrix: its last dimension is a row, all others count rows. A scalar is one row of one.
  size_t row_elements() const { return shape.empty() ? 1 : shape.back(); }
  size_t rows() const;
  const std::filesystem::path& path() const { return file->path(); }

  /// Tells the kernel that the bytes will be read soon, or not again soon. Values stay what they were: a
  /// dropped page is read from the file again.
  void prefetch() const { file->prefetch(offset, size_bytes); }
  void drop() const { file->drop(offset, size_bytes); }
};

class TensorStore {
 public:
  virtual ~TensorStore() = default;
  /// What was opened: a file or a folder.
  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  /// Null where there is no such tensor.
  const TensorView* find(const std::string& name) const;
  /// Errors: Error where there is no such tensor.
  const TensorView& at(const std::string& name) const;

 protected:
  explicit TensorStore(std::filesystem::path path) : path_(std::move(path)) {}
  TensorStore(const TensorStore&) = default;
  TensorStore(TensorStore&&) = default;
  TensorStore& operator=(const TensorStore&) = default;
  TensorStore& operator=(TensorStore&&) = default;
  /// Errors: Error where a tensor of that name is there already, naming both files.
  void add(TensorView tensor);

 private:
  std::filesystem::path path_;
  std::map<std::string, TensorView> tensors_;
};

/// Opens a checkpoint: a `.safetensors` file, a `.safetensors.index.json` file, a `.gguf` file (of a split
/// one, the first part), or a folder that holds model.safetensors or model.safetensors.index.json. Errors:
/// Error where it is none of these, or broken.
std::unique_ptr<TensorStore> open_tensor_store(const std::filesystem::path& path);

/// Bytes of a tensor of that type and shape. Errors: Error naming the tensor where the product overflows or a
/// row is no whole number of blocks.
uint64_t checked_size_bytes(const std::filesystem::path& path, const std::string& tensor,
                            const StoredTypeInfo& type, const std::vector<size_t>& shape);

/// "[2, 3]".
std::string shape_text(const std::vector<size_t>& shape);

}  // namespace fathom
