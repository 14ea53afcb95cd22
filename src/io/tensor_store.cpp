#include "io/tensor_store.h"

#include <limits>

#include "io/gguf.h"
#include "io/io_error.h"
#include "io/safetensors.h"
#include "io/safetensors_index.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

bool ends_with(const fs::path& path, std::string_view suffix) {
  return path.filename().string().ends_with(suffix);
}

}  // namespace

size_t TensorView::elements() const {
  size_t n = 1;
  for (const size_t d : shape) n *= d;
  return n;
}

size_t TensorView::rows() const {
  size_t n = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) n *= shape[i];
  return n;
}

const TensorView* TensorStore::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

const TensorView& TensorStore::at(const std::string& name) const {
  const TensorView* tensor = find(name);
  if (tensor == nullptr) fail_tensor(path_, name, "is missing");
  return *tensor;
}

void TensorStore::add(TensorView tensor) {
  if (const TensorView* other = find(tensor.name)) {
    fail_tensor(
        tensor.path(), tensor.name,
        "stands twice, here and in " + other->path().string() + " at byte " + std::to_string(other->offset),
        tensor.offset, "does the folder mix two checkpoints?");
  }
  std::string name = tensor.name;
  tensors_.emplace(std::move(name), std::move(tensor));
}

std::unique_ptr<TensorStore> open_tensor_store(const fs::path& path) {
  if (fs::is_directory(path)) {
    // As in transformers, the single file wins where both are there.
    if (fs::exists(path / kSingle)) return std::make_unique<SafetensorsFile>(path / kSingle);
    if (fs::exists(path / kIndex)) return std::make_unique<SafetensorsIndex>(path / kIndex);
    if (fs::exists(path / "adapter_config.json"))
      fail_file(path, "is an adapter, not a model of its own", "fold it into its base first: fathom merge");
    const bool pickled =
        fs::exists(path / "pytorch_model.bin") || fs::exists(path / "pytorch_model.bin.index.json");
    fail_file(path, std::string("holds neither ") + kSingle + " nor " + kIndex,
              pickled ? "pytorch_model.bin is not read: convert it to safetensors" : "incomplete download?");
  }
  if (ends_with(path, ".safetensors.index.json")) return std::make_unique<SafetensorsIndex>(path);
  if (ends_with(path, ".safetensors")) return std::make_unique<SafetensorsFile>(path);
  if (ends_with(path, ".gguf")) return std::make_unique<GgufFile>(path);
  fail_file(path, "is no checkpoint that can be read",
            "give a folder, a .safetensors file, a .safetensors.index.json file or a .gguf file");
}

uint64_t checked_size_bytes(const fs::path& path, const std::string& tensor, const StoredTypeInfo& type,
                            const std::vector<size_t>& shape) {
  const size_t row = shape.empty() ? 1 : shape.back();
  if (row % type.block_elements != 0) {
    fail_tensor(path, tensor,
                "its rows have " + std::to_string(row) + " elements, and " + std::string(type.name) +
                    " stores blocks of " + std::to_string(type.block_elements));
  }
  // Zero dimensions first: a product with one is 0, however large the others are. The count of elements must
  // fit as well as the bytes, which are fewer in 4-bit types.
  for (const size_t dim : shape) {
    if (dim == 0) return 0;
  }
  uint64_t elements = 1;
  for (const size_t dim : shape) {
    if (elements > std::numeric_limits<uint64_t>::max() / 8 / dim) {
      fail_tensor(path, tensor, "its shape " + shape_text(shape) + " is too large");
    }
    elements *= dim;
  }
  return elements / type.block_elements * type.block_bytes;
}

std::string shape_text(const std::vector<size_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace fathom
