// Typed access to a GGUF file's metadata.

#include <limits>

#include "io/gguf.h"
#include "io/io_error.h"

namespace fathom {
namespace {

constexpr uint64_t kMaxInt64 = std::numeric_limits<int64_t>::max();

}  // namespace

std::string_view gguf_type_name(GgufType type) {
  constexpr std::string_view kNames[] = {"uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
                                         "bool",  "string", "array",  "uint64", "int64",  "float64"};
  return kNames[static_cast<size_t>(type)];
}

size_t GgufArray::size() const {
  return std::visit([](const auto& list) { return list.size(); }, values);
}

void GgufMetadata::bad(const std::string& key, const std::string& what) const {
  fail_file(path_, "metadata '" + key + "' " + what);
}

const GgufValue* GgufMetadata::find(const std::string& key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

const GgufValue& GgufMetadata::need(const std::string& key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) bad(key, "is missing");
  return *value;
}

uint64_t GgufMetadata::size(const std::string& key, std::optional<uint64_t> fallback) const {
  if (fallback && !has(key)) return *fallback;
  const GgufValue& value = need(key);
  if (const auto* n = std::get_if<uint64_t>(&value.value)) return *n;
  const auto* n = std::get_if<int64_t>(&value.value);
  if (n == nullptr || *n < 0) bad(key, "must be a whole number from 0 up");
  return static_cast<uint64_t>(*n);
}

int64_t GgufMetadata::integer(const std::string& key, std::optional<int64_t> fallback) const {
  if (fallback && !has(key)) return *fallback;
  const GgufValue& value = need(key);
  if (const auto* n = std::get_if<int64_t>(&value.value)) return *n;
  const auto* n = std::get_if<uint64_t>(&value.value);
  if (n == nullptr || *n > kMaxInt64) bad(key, "must be a whole number");
  return static_cast<int64_t>(*n);
}

double GgufMetadata::real(const std::string& key, std::optional<double> fallback) const {
  if (fallback && !has(key)) return *fallback;
  const auto* x = std::get_if<double>(&need(key).value);
  return x != nullptr ? *x : static_cast<double>(integer(key));
}

bool GgufMetadata::boolean(const std::string& key, std::optional<bool> fallback) const {
  if (fallback && !has(key)) return *fallback;
  const auto* b = std::get_if<bool>(&need(key).value);
  if (b == nullptr) bad(key, "must be true or false");
  return *b;
}

std::string GgufMetadata::text(const std::string& key, std::optional<std::string> fallback) const {
  if (fallback && !has(key)) return *fallback;
  const auto* text = std::get_if<std::string>(&need(key).value);
  if (text == nullptr) bad(key, "must be a string");
  return *text;
}

const GgufArray& GgufMetadata::array(const std::string& key) const {
  const auto* list = std::get_if<GgufArray>(&need(key).value);
  if (list == nullptr) bad(key, "must be an array");
  return *list;
}

const std::vector<std::string>& GgufMetadata::texts(const std::string& key) const {
  const auto* texts = std::get_if<std::vector<std::string>>(&array(key).values);
  if (texts == nullptr) bad(key, "must be an array of strings");
  return *texts;
}

std::vector<int64_t> GgufMetadata::integers(const std::string& key) const {
  const GgufArray& list = array(key);
  if (const auto* values = std::get_if<std::vector<int64_t>>(&list.values)) return *values;
  const auto* values = std::get_if<std::vector<uint64_t>>(&list.values);
  if (values == nullptr) bad(key, "must be an array of whole numbers");
  std::vector<int64_t> out;
  out.reserve(values->size());
  for (const uint64_t v : *values) {
    if (v > kMaxInt64) bad(key, "holds " + std::to_string(v) + ", which is too large");
    out.push_back(static_cast<int64_t>(v));
  }
  return out;
}

std::vector<double> GgufMetadata::reals(const std::string& key) const {
  if (const auto* values = std::get_if<std::vector<double>>(&array(key).values)) return *values;
  const std::vector<int64_t> whole = integers(key);
  return {whole.begin(), whole.end()};
}

}  // namespace fathom
