#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include <nlohmann/json.hpp>

#include "core/buffer.h"
#include "core/error.h"
#include "kernels/vector_ops.h"

namespace fathom {
namespace {

using nlohmann::json;

// The format's own bound on the header (100 MB); also keeps the parser's memory in hand.
constexpr uint64_t kMaxHeader = 100'000'000;

struct ElementType {
  const char* name;
  size_t bytes;
};
constexpr ElementType kTypes[] = {{"F64", 8}, {"F32", 4},  {"F16", 2},     {"BF16", 2},
                                  {"I64", 8}, {"I32", 4},  {"I16", 2},     {"I8", 1},
                                  {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};

size_t element_bytes(const std::string& dtype) {
  for (const ElementType& t : kTypes) {
    if (dtype == t.name) return t.bytes;
  }
  return 0;
}

class HeaderReader {
 public:
  HeaderReader(const std::filesystem::path& path, uint64_t data_begin, uint64_t data_bytes)
      : path_(path), data_begin_(data_begin), data_bytes_(data_bytes) {}

  TensorView read(const std::string& name, const json& entry, const std::byte* file) const {
    if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
        !entry.contains("data_offsets") || !entry["dtype"].is_string() || !entry["shape"].is_array() ||
        !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2) {
      bad(name, "its header entry needs dtype, shape and data_offsets");
    }
    TensorView view;
    view.dtype = entry["dtype"].get<std::string>();
    const size_t width = element_bytes(view.dtype);
    if (width == 0) bad(name, "has the unknown type '" + view.dtype + "'");
    uint64_t expected = width;
    for (const json& d : entry["shape"]) {
      const uint64_t dim = number(name, d, "shape");
      if (dim != 0 && expected > std::numeric_limits<uint64_t>::max() / dim)
        bad(name, "its shape is too large");
      expected *= dim;
      view.shape.push_back(dim);
    }
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
    view.data = file + view.offset;
    return view;
  }

 private:
  uint64_t number(const std::string& name, const json& value, const char* what) const {
    if (!value.is_number_unsigned())
      bad(name, std::string("its ") + what + " must hold whole numbers from 0 up");
    return value.get<uint64_t>();
  }
  [[noreturn]] void bad(const std::string& name, const std::string& what) const {
    fail({.what = what, .path = path_.string(), .tensor = name, .offset = {}, .line = {}, .hint = {}});
  }

  const std::filesystem::path& path_;
  uint64_t data_begin_, data_bytes_;
};

[[noreturn]] void bad_file(const std::filesystem::path& path, uint64_t offset, const std::string& what) {
  fail({.what = what,
        .path = path.string(),
        .tensor = {},
        .offset = offset,
        .line = {},
        .hint = "not a safetensors file, or an incomplete one"});
}

// Parses JSON and refuses an object with the same key twice, which nlohmann::json would let the last one win.
json parse_header(const std::filesystem::path& path, const char* begin, size_t size) {
  std::vector<std::vector<std::string>> keys;
  std::string twice;
  const json::parser_callback_t callback = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::key) keys.back().push_back(parsed.get<std::string>());
    if (event == json::parse_event_t::object_end) {
      std::sort(keys.back().begin(), keys.back().end());
      const auto it = std::adjacent_find(keys.back().begin(), keys.back().end());
      if (it != keys.back().end()) twice = *it;
      keys.pop_back();
    }
    return true;
  };
  json header = json::parse(begin, begin + size, callback, /*allow_exceptions=*/false);
  if (header.is_discarded() || !header.is_object()) bad_file(path, 8, "the header is not a JSON object");
  if (!twice.empty()) bad_file(path, 8, "the header names '" + twice + "' twice");
  return header;
}

float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16, mantissa = h & 0x3ffu;
  const uint32_t exponent = (h >> 10) & 0x1fu;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t bits = exponent == 31 ? sign | 0x7f800000u | (mantissa << 13)
                                       : sign | ((exponent + 112) << 23) | (mantissa << 13);
  return std::bit_cast<float>(bits);
}

// memcpy, since a tensor's offset in the file need not be aligned to its type.
template <class T>
T load_at(const std::byte* data, size_t i) {
  T value;
  std::memcpy(&value, data + i * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

size_t TensorView::elements() const {
  size_t n = 1;
  for (const size_t d : shape) n *= d;
  return n;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::span<const std::byte> bytes = file_.bytes();
  if (bytes.size() < 8)
    bad_file(path, 0, "the file has " + std::to_string(bytes.size()) + " bytes, its header length needs 8");
  const auto header_size = load_at<uint64_t>(bytes.data(), 0);
  if (header_size > kMaxHeader || header_size > bytes.size() - 8) {
    bad_file(path, 0,
             "the header is said to have " + std::to_string(header_size) + " bytes, the file has " +
                 std::to_string(bytes.size() - 8) + " left");
  }
  const json header = parse_header(path, reinterpret_cast<const char*>(bytes.data()) + 8, header_size);
  const HeaderReader reader(path, 8 + header_size, bytes.size() - 8 - header_size);
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) bad_file(path, 8, "__metadata__ is not an object");
      for (const auto& [key, value] : entry.items()) {
        if (value.is_string()) metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    const TensorView view = reader.read(name, entry, bytes.data());
    ranges.emplace_back(view.offset, view.offset + view.size_bytes);
    tensors_.emplace(name, view);
  }
  std::sort(ranges.begin(), ranges.end());
  uint64_t next = 8 + header_size;
  for (const auto& [begin, end] : ranges) {
    if (begin != next)
      bad_file(path, next, begin < next ? "two tensors overlap" : "bytes that belong to no tensor");
    next = end;
  }
  if (next != bytes.size()) bad_file(path, next, "bytes behind the last tensor");
}

const TensorView& SafetensorsFile::at(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    fail({.what = "is missing",
          .path = path().string(),
          .tensor = name,
          .offset = {},
          .line = {},
          .hint = {}});
  }
  return it->second;
}

template <class S>
void read_tensor(S* out, const TensorView& t, const std::string& name, const std::filesystem::path& path) {
  const size_t n = t.elements();
  if (t.dtype == "F32") {
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<S>(load_at<float>(t.data, i));
  } else if (t.dtype == "F64") {
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<S>(load_at<double>(t.data, i));
  } else if (t.dtype == "BF16") {
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<S>(load_at<bf16>(t.data, i));
  } else if (t.dtype == "F16") {
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<S>(half_to_float(load_at<uint16_t>(t.data, i)));
  } else {
    fail({.what = "has type " + t.dtype + ", weights must be F64, F32, F16 or BF16",
          .path = path.string(),
          .tensor = name,
          .offset = t.offset,
          .line = {},
          .hint = {}});
  }
}

template void read_tensor(double*, const TensorView&, const std::string&, const std::filesystem::path&);
template void read_tensor(float*, const TensorView&, const std::string&, const std::filesystem::path&);
template void read_tensor(bf16*, const TensorView&, const std::string&, const std::filesystem::path&);

const char* file_type_name(DType type) {
  return type == DType::kF64 ? "F64" : type == DType::kF32 ? "F32" : "BF16";
}

namespace {

// Elements converted at a time while writing: bounds the memory that a conversion takes.
constexpr size_t kWriteChunk = size_t{1} << 20;

template <class To, class From>
void write_converted(AtomicFile& file, const From* from, size_t n) {
  Buffer<To> chunk(std::min(n, kWriteChunk));
  for (size_t i = 0; i < n; i += kWriteChunk) {
    const size_t m = std::min(kWriteChunk, n - i);
    convert(chunk.data(), from + i, m);
    file.write(chunk.data(), m * sizeof(To));
  }
}

void write_values(AtomicFile& file, const TensorToWrite& t, size_t n) {
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

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  std::vector<size_t> counts;
  for (const TensorToWrite& t : tensors) {
    size_t n = 1;
    for (const size_t d : t.shape) n *= d;
    counts.push_back(n);
    const uint64_t end = offset + n * dtype_size(t.stored);
    header[t.name] = {
        {"dtype", file_type_name(t.stored)}, {"shape", t.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // so that the data start aligned, as the format advises
  AtomicFile file(path);
  const uint64_t length = text.size();
  file.write(&length, sizeof(length));
  file.write(text);
  for (size_t i = 0; i < tensors.size(); ++i) write_values(file, tensors[i], counts[i]);
  file.commit();
}

}  // namespace fathom
