#include <algorithm>
#include <cstdint>

#include <nlohmann/json.hpp>

#include "core/buffer.h"
#include "core/error.h"
#include "io/quantize.h"
#include "io/safetensors.h"
#include "kernels/vector_ops.h"

namespace fathom {
namespace {

// Elements converted at a time while writing: bounds the memory that a conversion takes.
constexpr size_t kWriteChunk = size_t{1} << 20;

template <class To, class From>
void write_converted(SafetensorsWriter& file, const From* from, size_t n) {
  Buffer<To> chunk(std::min(n, kWriteChunk));
  for (size_t i = 0; i < n; i += kWriteChunk) {
    const size_t m = std::min(kWriteChunk, n - i);
    convert(chunk.data(), from + i, m);
    file.write(chunk.data(), m * sizeof(To));
  }
}

void write_values(SafetensorsWriter& file, const TensorToWrite& t, size_t n) {
  if (t.memory == t.stored) {
    file.write(t.data, n * dtype_size(t.memory));
  } else if (t.memory == DType::kF32 && t.stored == DType::kBf16) {
    write_converted<bf16>(file, static_cast<const float*>(t.data), n);
  } else if (t.memory == DType::kF64 && t.stored == DType::kF32) {
    write_converted<float>(file, static_cast<const double*>(t.data), n);
  } else {
    fail("internal: no conversion from " + std::string(dtype_name(t.memory)) + " to " +
         std::string(dtype_name(t.stored)));
  }
}

}  // namespace

SafetensorsHeader safetensors_header(const std::filesystem::path& path,
                                     const std::vector<SafetensorsWriter::Entry>& tensors,
                                     const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const SafetensorsWriter::Entry& t : tensors) {
    const uint64_t end = offset + checked_size_bytes(path, t.name, stored_type_info(t.type), t.shape);
    header[t.name] = {
        {"dtype", stored_type_name(t.type)}, {"shape", t.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // so that the data start aligned, as the format advises
  const uint64_t length = text.size();
  return {std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text, offset};
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, const std::vector<Entry>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  const SafetensorsHeader header = safetensors_header(path, tensors, metadata);
  file_.write(header.text);
  end_ = file_.size() + header.data_bytes;
}

void SafetensorsWriter::commit() {
  if (file_.size() != end_) fail("internal: a safetensors file was written short or long");
  file_.commit();
}

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata, CountedWork* written) {
  std::vector<SafetensorsWriter::Entry> entries;
  for (const TensorToWrite& t : tensors) entries.push_back({t.name, stored_type_of(t.stored), t.shape});
  SafetensorsWriter file(path, entries, metadata);
  for (const TensorToWrite& t : tensors) {
    size_t n = 1;
    for (const size_t d : t.shape) n *= d;
    write_values(file, t, n);
    if (written != nullptr) written->add(n);
  }
  file.commit();
}

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorToMake>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<SafetensorsWriter::Entry> entries;
  for (const TensorToMake& t : tensors) entries.push_back({t.name, t.stored, t.shape});
  SafetensorsWriter file(path, entries, metadata);
  for (const TensorToMake& t : tensors) {
    size_t n = 1;
    for (const size_t d : t.shape) n *= d;
    const size_t element = stored_type_info(t.stored).block_bytes;
    Buffer<float> values(n);
    t.make(values.data());
    Buffer<std::byte> bytes(std::min(n, kWriteChunk) * element);
    for (size_t i = 0; i < n; i += kWriteChunk) {
      const size_t m = std::min(kWriteChunk, n - i);
      encode_values(bytes.data(), values.data() + i, t.stored, m);
      file.write(bytes.data(), m * element);
    }
  }
  file.commit();
}

}  // namespace fathom
