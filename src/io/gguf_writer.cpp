#include "io/gguf_writer.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/buffer.h"
#include "io/io_error.h"
#include "io/quantize.h"
#include "kernels/vector_ops.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// Elements converted at a time, a multiple of every block: bounds the memory that writing takes.
constexpr size_t kChunk = size_t{1} << 20;

class Head {
 public:
  template <class T>
  void put(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void put_string(const std::string& s) {
    put<uint64_t>(s.size());
    text_ += s;
  }
  void put_value(const GgufValue& value);
  void pad() { text_.append((kGgufAlignment - text_.size() % kGgufAlignment) % kGgufAlignment, '\0'); }
  const std::string& text() const { return text_; }

 private:
  template <class T>
  void put_scalar(GgufType type, T value);
  void put_array(const GgufArray& array);

  std::string text_;
};

template <class T>
void Head::put_scalar(GgufType type, T value) {
  switch (type) {
    case GgufType::kUint8:
      return put(static_cast<uint8_t>(value));
    case GgufType::kInt8:
      return put(static_cast<int8_t>(value));
    case GgufType::kUint16:
      return put(static_cast<uint16_t>(value));
    case GgufType::kInt16:
      return put(static_cast<int16_t>(value));
    case GgufType::kUint32:
      return put(static_cast<uint32_t>(value));
    case GgufType::kInt32:
      return put(static_cast<int32_t>(value));
    case GgufType::kFloat32:
      return put(static_cast<float>(value));
    case GgufType::kBool:
      return put(static_cast<uint8_t>(value));
    case GgufType::kUint64:
      return put(static_cast<uint64_t>(value));
    case GgufType::kInt64:
      return put(static_cast<int64_t>(value));
    case GgufType::kFloat64:
      return put(static_cast<double>(value));
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  fail("internal: a GGUF " + std::string(gguf_type_name(type)) + " is no number");
}

void Head::put_array(const GgufArray& array) {
  put(static_cast<uint32_t>(array.element));
  put<uint64_t>(array.size());
  std::visit(
      [&](const auto& list) {
        using T = typename std::decay_t<decltype(list)>::value_type;
        for (const T& item : list) {
          if constexpr (std::is_same_v<T, std::string>)
            put_string(item);
          else if constexpr (std::is_same_v<T, GgufArray>)
            put_array(item);
          else
            put_scalar(array.element, item);
        }
      },
      array.values);
}

void Head::put_value(const GgufValue& value) {
  put(static_cast<uint32_t>(value.type));
  std::visit(
      [&](const auto& item) {
        using T = std::decay_t<decltype(item)>;
        if constexpr (std::is_same_v<T, std::string>)
          put_string(item);
        else if constexpr (std::is_same_v<T, GgufArray>)
          put_array(item);
        else
          put_scalar(value.type, item);
      },
      value.value);
}

void check_tensor(const fs::path& path, const GgufTensor& t) {
  if (t.shape.empty() || t.shape.size() > 4) {
    fail_tensor(path, t.name, "has " + std::to_string(t.shape.size()) + " dimensions, GGUF takes 1 to 4");
  }
  if (!can_encode(t.stored) || t.memory == DType::kF64) {
    fail_tensor(path, t.name,
                "cannot be written as " + std::string(stored_type_name(t.stored)) + " from " +
                    std::string(dtype_name(t.memory)),
                {}, "F32, F16, BF16 and Q8_0 are written, from fp32 and bf16");
  }
}

uint64_t padded(uint64_t n) { return (n + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment; }

void write_values(AtomicFile& file, const GgufTensor& t, size_t n) {
  const StoredTypeInfo& info = stored_type_info(t.stored);
  Buffer<float> made(t.make ? n : 0);
  if (t.make) t.make(made.data());
  const void* const data = t.make ? made.data() : t.data;
  Buffer<float> widened(t.memory == DType::kBf16 ? std::min(n, kChunk) : 0);
  Buffer<std::byte> out(std::min(n, kChunk) * sizeof(float));
  for (size_t i = 0; i < n; i += kChunk) {
    const size_t m = std::min(kChunk, n - i);
    const float* values = nullptr;
    if (t.memory == DType::kBf16) {
      convert(widened.data(), static_cast<const bf16*>(data) + i, m);
      values = widened.data();
    } else {
      values = static_cast<const float*>(data) + i;
    }
    encode_values(out.data(), values, t.stored, m);
    file.write(out.data(), m / info.block_elements * info.block_bytes);
  }
}

}  // namespace

GgufValue gguf_uint32(uint32_t value) { return {GgufType::kUint32, uint64_t{value}}; }
GgufValue gguf_float32(float value) { return {GgufType::kFloat32, static_cast<double>(value)}; }
GgufValue gguf_bool(bool value) { return {GgufType::kBool, value}; }
GgufValue gguf_string(std::string value) { return {GgufType::kString, std::move(value)}; }
GgufValue gguf_strings(std::vector<std::string> values) {
  return {GgufType::kArray, GgufArray{GgufType::kString, std::move(values)}};
}
GgufValue gguf_float32s(const std::vector<float>& values) {
  return {GgufType::kArray, GgufArray{GgufType::kFloat32, std::vector<double>(values.begin(), values.end())}};
}
GgufValue gguf_int32s(const std::vector<int32_t>& values) {
  return {GgufType::kArray, GgufArray{GgufType::kInt32, std::vector<int64_t>(values.begin(), values.end())}};
}

void write_gguf(const fs::path& path, const GgufPairs& metadata, const std::vector<GgufTensor>& tensors) {
  Head head;
  head.put(uint32_t{0x46554747});  // "GGUF"
  head.put(uint32_t{3});
  head.put<uint64_t>(tensors.size());
  head.put<uint64_t>(metadata.size());
  std::set<std::string> names;
  for (const auto& [key, value] : metadata) {
    if (!names.insert(key).second) fail_file(path, "metadata '" + key + "' is given twice");
    if (key == "general.alignment") fail_file(path, "metadata 'general.alignment' is the writer's own");
    head.put_string(key);
    head.put_value(value);
  }
  names.clear();
  uint64_t offset = 0;
  for (const GgufTensor& t : tensors) {
    if (!names.insert(t.name).second) fail_tensor(path, t.name, "is given twice");
    check_tensor(path, t);
    const uint64_t bytes = checked_size_bytes(path, t.name, stored_type_info(t.stored), t.shape);
    head.put_string(t.name);
    head.put(static_cast<uint32_t>(t.shape.size()));
    for (auto d = t.shape.rbegin(); d != t.shape.rend(); ++d) head.put<uint64_t>(*d);
    head.put(static_cast<uint32_t>(stored_type_info(t.stored).ggml_id));
    head.put<uint64_t>(offset);
    offset = padded(offset + bytes);
  }
  head.pad();
  AtomicFile file(path);
  file.write(head.text());
  for (const GgufTensor& t : tensors) {
    size_t n = 1;
    for (const size_t d : t.shape) n *= d;
    write_values(file, t, n);
    file.write(std::string(padded(file.size()) - file.size(), '\0'));
  }
  file.commit();
}

}  // namespace fathom
