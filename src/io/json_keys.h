#pragma once
// Internal to io: reads keys of one JSON object and says which key of which file is wrong.

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace fathom {

/// The keys of `object`, which must outlive this; a key whose value is null counts as absent. Errors: Error
/// naming the origin and the key.
class JsonKeys {
 public:
  JsonKeys(const nlohmann::json& object, std::string origin) : object_(object), origin_(std::move(origin)) {}

  [[noreturn]] void bad(const std::string& key, const std::string& what, const std::string& hint = {}) const {
    fail({.what = "'" + key + "' " + what, .path = origin_, .hint = hint});
  }
  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  /// Whether the key is there and its value null, which says something where an absent key has a default.
  bool is_null(const char* key) const { return object_.contains(key) && object_[key].is_null(); }
  size_t size(const char* key) const {
    if (!has(key)) bad(key, "is missing");
    return size(key, 0);
  }
  size_t size(const char* key, size_t fallback) const {
    if (!has(key)) return fallback;
    if (!is_size(object_[key])) bad(key, "must be a whole number from 0 up");
    return object_[key].get<size_t>();
  }
  double real(const char* key, double fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_number()) bad(key, "must be a number");
    return object_[key].get<double>();
  }
  bool boolean(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_boolean()) bad(key, "must be true or false");
    return object_[key].get<bool>();
  }
  std::string text(const char* key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_string()) bad(key, "must be a string");
    return object_[key].get<std::string>();
  }
  /// A token id, or -1; the first of a list.
  long id(const char* key) const {
    const std::vector<long> all = ids(key);
    return all.empty() ? -1 : all[0];
  }
  /// A token id, or the list of several that some configs hold.
  std::vector<long> ids(const char* key) const {
    std::vector<long> list;
    if (!has(key)) return list;
    const auto add = [&](const nlohmann::json& value) {
      if (!value.is_number_integer()) bad(key, "must be a token id");
      list.push_back(value.get<long>());
    };
    const nlohmann::json& value = object_[key];
    if (value.is_array() && !value.empty()) {
      for (const nlohmann::json& entry : value) add(entry);
    } else {
      add(value);
    }
    return list;
  }
  std::vector<size_t> sizes(const char* key) const {
    std::vector<size_t> list;
    if (!has(key)) return list;
    if (!object_[key].is_array()) bad(key, "must be a list of layer numbers");
    for (const nlohmann::json& v : object_[key]) {
      if (!is_size(v)) bad(key, "must be a list of layer numbers");
      list.push_back(v.get<size_t>());
    }
    return list;
  }

  std::vector<std::string> texts(const char* key) const {
    std::vector<std::string> list;
    if (!has(key)) return list;
    if (!object_[key].is_array()) bad(key, "must be a list of names");
    for (const nlohmann::json& v : object_[key]) {
      if (!v.is_string()) bad(key, "must be a list of names");
      list.push_back(v.get<std::string>());
    }
    return list;
  }
  /// The object under `key`, which is there.
  JsonKeys object(const char* key) const {
    if (!object_[key].is_object()) bad(key, "must be an object");
    return {object_[key], origin_ + ": " + key};
  }
  const nlohmann::json& json() const { return object_; }
  const std::string& origin() const { return origin_; }

 private:
  /// A whole number from 0 up, whether it was parsed (unsigned) or built in memory (signed).
  static bool is_size(const nlohmann::json& value) {
    return value.is_number_unsigned() || (value.is_number_integer() && value.get<int64_t>() >= 0);
  }

  const nlohmann::json& object_;
  std::string origin_;
};

}  // namespace fathom
