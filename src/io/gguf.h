#pragma once
// GGUF, the file format of llama.cpp: typed metadata (the model's sizes, its tokenizer) and tensors, many of
// them in blocks of few bits. Every number in it is untrusted. Format: ggml-org/ggml, docs/gguf.md; versions
// 2 and 3, little-endian.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "io/tensor_store.h"

namespace fathom {

/// The types of metadata, by their numbers in the file.
enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

/// "uint32", "string" ...
std::string_view gguf_type_name(GgufType type);

/// A list of values of one type. `values` holds unsigned types as uint64_t, signed ones as int64_t, both
/// floating types as double, booleans as uint64_t (0 or 1).
struct GgufArray {
  GgufType element = GgufType::kUint8;
  std::variant<std::vector<uint64_t>, std::vector<int64_t>, std::vector<double>, std::vector<std::string>,
               std::vector<GgufArray>>
      values;

  size_t size() const;
  bool operator==(const GgufArray&) const = default;
};

/// One value, of the type that the file gives it.
struct GgufValue {
  GgufType type = GgufType::kUint8;
  std::variant<uint64_t, int64_t, double, bool, std::string, GgufArray> value;

  bool operator==(const GgufValue&) const = default;
};

/// The metadata of a file: key -> value. The readers take any type that holds the value without loss (a
/// uint16 for a size, say), since writers differ there. Errors of each: Error naming file and key, where the
/// key is missing (without fallback) or of another kind.
class GgufMetadata {
 public:
  GgufMetadata() = default;
  explicit GgufMetadata(std::filesystem::path path) : path_(std::move(path)) {}

  const std::map<std::string, GgufValue>& values() const { return values_; }
  const GgufValue* find(const std::string& key) const;
  bool has(const std::string& key) const { return find(key) != nullptr; }
  const std::filesystem::path& path() const { return path_; }
  void set(std::string key, GgufValue value) { values_.insert_or_assign(std::move(key), std::move(value)); }

  uint64_t size(const std::string& key, std::optional<uint64_t> fallback = {}) const;
  int64_t integer(const std::string& key, std::optional<int64_t> fallback = {}) const;
  double real(const std::string& key, std::optional<double> fallback = {}) const;
  bool boolean(const std::string& key, std::optional<bool> fallback = {}) const;
  std::string text(const std::string& key, std::optional<std::string> fallback = {}) const;

  /// Lists, such as tokenizer.ggml.tokens, .token_type and .scores. A reference lives as long as this.
  const std::vector<std::string>& texts(const std::string& key) const;
  std::vector<int64_t> integers(const std::string& key) const;
  std::vector<double> reals(const std::string& key) const;

  [[noreturn]] void bad(const std::string& key, const std::string& what) const;

 private:
  const GgufValue& need(const std::string& key) const;
  const GgufArray& array(const std::string& key) const;

  std::filesystem::path path_;
  std::map<std::string, GgufValue> values_;
};

/// A GGUF file, or all parts of a split one (`x-00001-of-00003.gguf`), opened by its first part. Tensors have
/// GGUF's names, and shapes in Hugging Face's order. Errors: Error naming file, tensor or key, byte, what was
/// expected and what found.
class GgufFile : public TensorStore {
 public:
  explicit GgufFile(const std::filesystem::path& path);
  /// Of the first part.
  const GgufMetadata& metadata() const { return metadata_; }

 private:
  GgufMetadata metadata_;
};

/// Writers of GGUF pad the data of each tensor to this many bytes where `general.alignment` says nothing.
inline constexpr uint64_t kGgufAlignment = 32;

}  // namespace fathom
