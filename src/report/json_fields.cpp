#include "report/json_fields.h"

#include <cmath>
#include <optional>

#include "core/error.h"
#include "core/json.h"

namespace fathom {

JsonFields::JsonFields(const nlohmann::json& object, const std::filesystem::path& path, uint64_t line)
    : object_(object), path_(path), line_(line) {
  if (!object.is_object()) refuse("is not a JSON object");
}

void JsonFields::refuse(const std::string& what) const {
  fail({.what = what,
        .path = path_.string(),
        .line = line_ > 0 ? std::optional(line_) : std::nullopt,
        .hint = "was it written by another program?"});
}

double JsonFields::number_of(const nlohmann::json& value, const std::string& key) const {
  if (value.is_null()) return std::nan("");
  if (!value.is_number()) refuse("'" + key + "' is not a number");
  return value.get<double>();
}

uint64_t JsonFields::whole_of(const nlohmann::json& value, const std::string& key) const {
  const double number = number_of(value, key);
  // Written so that NaN is refused as well.
  if (!(number >= 0 && number <= 0x1p53) || number != std::floor(number)) {
    refuse("'" + key + "' is not a whole number from 0 to 2^53");
  }
  return static_cast<uint64_t>(number);
}

double JsonFields::number(const std::string& key) const {
  const auto it = object_.find(key);
  return it == object_.end() ? std::nan("") : number_of(*it, key);
}

uint64_t JsonFields::whole(const std::string& key) const {
  const auto it = object_.find(key);
  if (it == object_.end()) refuse("has no '" + key + "'");
  return whole_of(*it, key);
}

std::string JsonFields::text(const std::string& key) const {
  const auto it = object_.find(key);
  if (it == object_.end()) return {};
  if (!it->is_string()) refuse("'" + key + "' is not a text");
  return it->get<std::string>();
}

const nlohmann::json& JsonFields::list(const std::string& key) const {
  const auto it = object_.find(key);
  if (it == object_.end() || !it->is_array()) refuse("has no list '" + key + "'");
  return *it;
}

std::vector<double> JsonFields::numbers(const std::string& key) const {
  std::vector<double> out;
  if (!object_.contains(key)) return out;
  for (const nlohmann::json& value : list(key)) out.push_back(number_of(value, key));
  return out;
}

std::vector<uint64_t> JsonFields::wholes(const std::string& key) const {
  std::vector<uint64_t> out;
  for (const nlohmann::json& value : list(key)) out.push_back(whole_of(value, key));
  return out;
}

nlohmann::json read_json_file(const std::filesystem::path& path) {
  try {
    return read_json(path);
  } catch (const nlohmann::json::parse_error& e) {
    fail({.what = "is not JSON (" + std::string(e.what()) + ")",
          .path = path.string(),
          .offset = e.byte > 0 ? e.byte - 1 : 0,  // It counts from 1.
          .hint = "was it cut short?"});
  }
}

}  // namespace fathom
