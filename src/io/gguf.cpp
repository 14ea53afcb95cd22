#include "io/gguf.h"

#include <algorithm>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "io/gguf_cursor.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kMagic = 0x46554747;  // "GGUF", little-endian
// ggml's own bounds are 4 dimensions and, for the names of tensors, 64 bytes; names may be longer in forks.
constexpr uint32_t kMaxDims = 4;
constexpr uint64_t kMaxName = 1024;
constexpr uint64_t kMaxKey = 65535;  // docs/gguf.md
// Padding beyond a huge page serves nobody.
constexpr uint64_t kMaxAlignment = uint64_t{1} << 21;
// Bytes of a key and its value, and of a tensor's entry, at least.
constexpr uint64_t kMinPair = 8 + 4 + 1, kMinTensor = 8 + 4 + 4 + 8;

void check_version(const fs::path& path, uint32_t version) {
  if (version == 2 || version == 3) return;
  if ((version & 0xffffu) == 0)
    fail_file(path, "is a big-endian GGUF file", "only little-endian ones are read", 4);
  fail_file(path, "is GGUF of version " + std::to_string(version), "versions 2 and 3 are read", 4);
}

uint64_t alignment_of(const GgufMetadata& metadata) {
  const uint64_t alignment = metadata.size("general.alignment", kGgufAlignment);
  if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > kMaxAlignment) {
    metadata.bad("general.alignment",
                 "is " + std::to_string(alignment) + ", expected a power of two up to 2097152");
  }
  return alignment;
}

// One file. Its tensors are handed on only when all of it has been checked.
class PartReader {
 public:
  explicit PartReader(const fs::path& path)
      : file_(std::make_shared<const MappedFile>(path)), in_(*file_, 0), metadata_(path) {}

  void read() {
    if (in_.read<uint32_t>() != kMagic) fail_file(file_->path(), "is not a GGUF file", {}, 0);
    check_version(file_->path(), in_.read<uint32_t>());
    const auto num_tensors = in_.read<uint64_t>();
    const auto num_pairs = in_.read<uint64_t>();
    in_.check_count(num_tensors, kMinTensor, "tensors");
    in_.check_count(num_pairs, kMinPair, "metadata entries");
    for (uint64_t i = 0; i < num_pairs; ++i) read_pair();
    const uint64_t alignment = alignment_of(metadata_);
    for (uint64_t i = 0; i < num_tensors; ++i) read_tensor_entry(alignment);
    place(alignment);
  }

  GgufMetadata& metadata() { return metadata_; }
  std::vector<TensorView>& tensors() { return tensors_; }

 private:
  void read_pair() {
    in_.set_subject("a metadata key");
    std::string key = in_.read_string(kMaxKey);
    if (metadata_.has(key)) metadata_.bad(key, "stands twice");
    in_.set_subject("metadata '" + key + "'");
    const auto type = in_.read<uint32_t>();
    metadata_.set(std::move(key), read_gguf_value(in_, type));
  }

  // The entry without the place in the file, which is known when the last entry has been read: `offset` holds
  // what the entry says, counted from the start of the data.
  void read_tensor_entry(uint64_t alignment) {
    in_.set_subject("a tensor's entry");
    TensorView view;
    const size_t entry_at = in_.position();
    view.name = in_.read_string(kMaxName);
    if (!names_.insert(view.name).second)
      fail_tensor(file_->path(), view.name, "stands twice in the file", entry_at);
    in_.set_subject("the entry of tensor '" + view.name + "'");
    const auto dims = in_.read<uint32_t>();
    if (dims > kMaxDims) in_.bad("has " + std::to_string(dims) + " dimensions, at most 4 are allowed");
    view.shape.resize(dims);
    for (uint32_t i = 0; i < dims; ++i) view.shape[dims - 1 - i] = in_.read<uint64_t>();
    const auto type = in_.read<uint32_t>();
    const StoredTypeInfo* info = find_ggml_type(type);
    if (info == nullptr) in_.bad("has the unknown type " + std::to_string(type));
    view.type = info->type;
    view.size_bytes = checked_size_bytes(file_->path(), view.name, *info, view.shape);
    view.offset = in_.read<uint64_t>();
    if (view.offset % alignment != 0) {
      in_.bad("has the offset " + std::to_string(view.offset) + ", which is no multiple of the alignment " +
              std::to_string(alignment));
    }
    tensors_.push_back(std::move(view));
  }

  // From offsets in the data to pointers, when all are known to lie in the file and apart.
  void place(uint64_t alignment) {
    const uint64_t size = file_->bytes().size();
    const uint64_t misfit = in_.position() % alignment;
    const uint64_t begin = misfit == 0 ? in_.position() : in_.position() + (alignment - misfit);
    const uint64_t data_bytes = begin < size ? size - begin : 0;
    for (TensorView& view : tensors_) {
      if (view.offset > data_bytes || view.size_bytes > data_bytes - view.offset) {
        fail_tensor(file_->path(), view.name,
                    "needs " + std::to_string(view.size_bytes) + " bytes at " + std::to_string(view.offset) +
                        " of the data, the file has " + std::to_string(data_bytes) + " bytes of data",
                    begin, "incomplete download?");
      }
      view.offset += begin;
      // An empty tensor may stand behind the last byte of a file that ends before its padding does.
      view.data = file_->bytes().data() + std::min(view.offset, size);
      view.file = file_;
    }
    check_apart();
  }

  void check_apart() {
    std::vector<const TensorView*> order;
    for (const TensorView& view : tensors_) {
      if (view.size_bytes > 0) order.push_back(&view);
    }
    std::sort(order.begin(), order.end(),
              [](const TensorView* a, const TensorView* b) { return a->offset < b->offset; });
    for (size_t i = 1; i < order.size(); ++i) {
      const TensorView &a = *order[i - 1], &b = *order[i];
      if (b.offset < a.offset + a.size_bytes)
        fail_tensor(file_->path(), b.name, "overlaps tensor '" + a.name + "'", b.offset);
    }
  }

  std::shared_ptr<const MappedFile> file_;
  GgufCursor in_;
  GgufMetadata metadata_;
  std::vector<TensorView> tensors_;
  std::set<std::string> names_;
};

// Names of the parts of a split file, given its first. llama.cpp's gguf-split names them
// `<prefix>-%05d-of-%05d.gguf`, counted from 1.
std::vector<fs::path> part_paths(const fs::path& first, uint64_t count) {
  const std::string name = first.filename().string();
  const std::string suffix = fmt::format("-00001-of-{:05}.gguf", count);
  if (count > 99999 || !name.ends_with(suffix)) {
    fail_file(first, "is a part of " + std::to_string(count) + ", and its name does not end in " + suffix,
              "give the first part, under the name that llama.cpp's gguf-split gives it");
  }
  const std::string prefix = name.substr(0, name.size() - suffix.size());
  std::vector<fs::path> paths;
  for (uint64_t i = 1; i <= count; ++i) {
    paths.push_back(first.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", prefix, i, count));
  }
  return paths;
}

}  // namespace

GgufFile::GgufFile(const fs::path& path) : TensorStore(path), metadata_(path) {
  PartReader first(path);
  first.read();
  metadata_ = std::move(first.metadata());
  for (TensorView& view : first.tensors()) add(std::move(view));
  const uint64_t count = metadata_.size("split.count", 1);
  if (count <= 1) return;
  const std::vector<fs::path> paths = part_paths(path, count);
  for (uint64_t i = 1; i < count; ++i) {
    PartReader part(paths[i]);
    part.read();
    if (part.metadata().size("split.no") != i || part.metadata().size("split.count") != count) {
      fail_file(paths[i], "is not part " + std::to_string(i + 1) + " of " + std::to_string(count),
                "do the parts belong together?");
    }
    for (TensorView& view : part.tensors()) add(std::move(view));
  }
  const uint64_t total = metadata_.size("split.tensors.count", tensors().size());
  if (total != tensors().size()) {
    fail_file(path, "its parts hold " + std::to_string(tensors().size()) + " tensors, expected " +
                        std::to_string(total));
  }
}

}  // namespace fathom
