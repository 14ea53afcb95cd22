#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include <nlohmann/json.hpp>

#include "io/io_error.h"
#include "io/json_text.h"

namespace fathom {
namespace {

using nlohmann::json;

// The format's own bound on the header (100 MB); also keeps the parser's memory in hand.
constexpr uint64_t kMaxHeader = 100'000'000;

// The object, a tensor, its shape: nothing in a header is nested deeper.
constexpr int kMaxDepth = 4;

class HeaderReader {
 public:
  HeaderReader(std::shared_ptr<const MappedFile> file, uint64_t data_begin)
      : file_(std::move(file)), data_begin_(data_begin), data_bytes_(file_->bytes().size() - data_begin) {}

  TensorView read(const std::string& name, const json& entry) const {
    if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
        !entry.contains("data_offsets") || !entry["dtype"].is_string() || !entry["shape"].is_array() ||
        !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2) {
      bad(name, "its header entry needs dtype, shape and data_offsets");
    }
    TensorView view;
    view.name = name;
    const auto dtype = entry["dtype"].get<std::string>();
    const StoredTypeInfo* type = find_safetensors_type(dtype);
    if (type == nullptr) bad(name, "has the unknown type '" + dtype + "'");
    view.type = type->type;
    for (const json& d : entry["shape"]) view.shape.push_back(number(name, d, "shape"));
    const uint64_t expected = checked_size_bytes(file_->path(), name, *type, view.shape);
    const uint64_t begin = number(name, entry["data_offsets"][0], "data_offsets");
    const uint64_t end = number(name, entry["data_offsets"][1], "data_offsets");
    if (begin > end || end > data_bytes_) {
      bad(name, "needs bytes " + std::to_string(begin) + " to " + std::to_string(end) + " of " +
                    std::to_string(data_bytes_) + " in the file; incomplete download?");
    }
    if (end - begin != expected) {
      bad(name, "its shape needs " + std::to_string(expected) + " bytes, its offsets give " +
                    std::to_string(end - begin));
    }
    view.offset = data_begin_ + begin;
    view.size_bytes = end - begin;
    view.data = file_->bytes().data() + view.offset;
    view.file = file_;
    return view;
  }

 private:
  uint64_t number(const std::string& name, const json& value, const char* what) const {
    if (!value.is_number_unsigned())
      bad(name, std::string("its ") + what + " must hold whole numbers from 0 up");
    return value.get<uint64_t>();
  }
  [[noreturn]] void bad(const std::string& name, const std::string& what) const {
    fail_tensor(file_->path(), name, what);
  }

  std::shared_ptr<const MappedFile> file_;
  uint64_t data_begin_, data_bytes_;
};

[[noreturn]] void bad_file(const std::filesystem::path& path, uint64_t offset, const std::string& what) {
  fail_file(path, what, "not a safetensors file, or an incomplete one", offset);
}

// The tensors must fill the file from `begin` to its end, without holes.
void check_layout(const TensorStore& store, uint64_t begin, uint64_t end) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& [name, view] : store.tensors()) {
    ranges.emplace_back(view.offset, view.offset + view.size_bytes);
  }
  std::sort(ranges.begin(), ranges.end());
  uint64_t next = begin;
  for (const auto& [from, to] : ranges) {
    if (from != next) {
      bad_file(store.path(), next, from < next ? "two tensors overlap" : "bytes that belong to no tensor");
    }
    next = to;
  }
  if (next != end) bad_file(store.path(), next, "bytes behind the last tensor");
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : TensorStore(path) {
  const auto file = std::make_shared<const MappedFile>(path);
  const std::span<const std::byte> bytes = file->bytes();
  if (bytes.size() < 8)
    bad_file(path, 0, "the file has " + std::to_string(bytes.size()) + " bytes, its header length needs 8");
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), sizeof(header_size));
  if (header_size > kMaxHeader || header_size > bytes.size() - 8) {
    bad_file(path, 0,
             "the header is said to have " + std::to_string(header_size) + " bytes, the file has " +
                 std::to_string(bytes.size() - 8) + " left");
  }
  const json header = parse_json_object(
      std::string_view(reinterpret_cast<const char*>(bytes.data()) + 8, header_size), path, 8, kMaxDepth);
  const HeaderReader reader(file, 8 + header_size);
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      add(reader.read(name, entry));
      continue;
    }
    if (!entry.is_object()) bad_file(path, 8, "__metadata__ is not an object");
    for (const auto& [key, value] : entry.items()) {
      if (value.is_string()) metadata_[key] = value.get<std::string>();
    }
  }
  check_layout(*this, 8 + header_size, bytes.size());
}

}  // namespace fathom
