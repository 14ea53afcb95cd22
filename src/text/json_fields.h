#pragma once
// Fields of a tokenizer's JSON files, read with errors that say which one is at fault. What they throw is an
// Error without a path: the caller that knows the file adds it.

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/utf8.h"

namespace fathom {

using Json =
    nlohmann::json;  // ordered_json scans an object for each key that it reads: quadratic in a vocabulary

inline constexpr int kMaxNesting = 16;  // of Sequences in Sequences

/// The message of a JSON library error without its preamble "[json.exception...] parse error at line 1,
/// column 5: ", and short, since it quotes what was read: all of a string that never ends.
inline std::string json_reason(const std::string& message) {
  const size_t colon = message.find(": ");
  const std::string reason = colon == std::string::npos ? message : message.substr(colon + 2);
  return reason.size() <= 120 ? reason : reason.substr(0, utf8_floor(reason, 120)) + "...";
}

inline std::string brief(const Json& json) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

/// The value of `key`, or a pointer to nothing where it is absent or null.
inline const Json* field(const Json& object, const char* key) {
  if (!object.is_object()) fail("holds " + brief(object) + " where an object is wanted");
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

inline const Json& required(const Json& object, const char* key) {
  const Json* const value = field(object, key);
  if (!value) fail("has no \"" + std::string(key) + "\" in " + brief(object));
  return *value;
}

[[noreturn]] inline void fail_field(const char* key, const char* wanted, const Json& value) {
  fail("\"" + std::string(key) + "\" must be " + wanted + ", not " + brief(value));
}

inline std::string string_field(const Json& object, const char* key) {
  const Json& value = required(object, key);
  if (!value.is_string()) fail_field(key, "a string", value);
  return value.get<std::string>();
}

inline std::string string_field(const Json& object, const char* key, const char* otherwise) {
  return field(object, key) ? string_field(object, key) : otherwise;
}

inline bool bool_field(const Json& object, const char* key, bool otherwise) {
  const Json* const value = field(object, key);
  if (value && !value->is_boolean()) fail_field(key, "true or false", *value);
  return value ? value->get<bool>() : otherwise;
}

inline const Json& array_field(const Json& object, const char* key) {
  const Json& value = required(object, key);
  if (!value.is_array()) fail_field(key, "an array", value);
  return value;
}

/// An id or a count: 0 to 2^31 - 2.
inline int32_t id_of(const Json& value, const std::string& of) {
  if (!value.is_number_integer() || value < 0 || value >= INT32_MAX)
    fail("the id of " + of + " is " + brief(value));
  return value.get<int32_t>();
}

inline int32_t count_field(const Json& object, const char* key, int32_t otherwise) {
  const Json* const value = field(object, key);
  return value ? id_of(*value, key) : otherwise;
}

}  // namespace fathom
