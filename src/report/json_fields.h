#pragma once
// Typed access to the fields of a JSON object that came from a file: each error names the file and the key.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace fathom {

/// An object of the JSON file `path`; `line` is its 1-based line where the file has one object a line, else
/// 0.
class JsonFields {
 public:
  /// Errors: Error where `object` is not an object. Both references must outlive this.
  JsonFields(const nlohmann::json& object, const std::filesystem::path& path, uint64_t line = 0);

  /// A number; NaN where the key is absent or null (JSON has no NaN: a writer puts null). Errors: Error.
  double number(const std::string& key) const;
  /// A whole number from 0 to 2^53, which must be there. Errors: Error.
  uint64_t whole(const std::string& key) const;
  /// A text, "" where absent. Errors: Error.
  std::string text(const std::string& key) const;
  /// A list of numbers (null: NaN), empty where absent. Errors: Error.
  std::vector<double> numbers(const std::string& key) const;
  /// A list of whole numbers, which must be there. Errors: Error.
  std::vector<uint64_t> wholes(const std::string& key) const;
  /// A list of anything, which must be there. Errors: Error.
  const nlohmann::json& list(const std::string& key) const;

  [[noreturn]] void refuse(const std::string& what) const;

 private:
  double number_of(const nlohmann::json& value, const std::string& key) const;
  uint64_t whole_of(const nlohmann::json& value, const std::string& key) const;

  const nlohmann::json& object_;
  const std::filesystem::path& path_;
  uint64_t line_;
};

/// The JSON of a file. Errors: Error where it is missing, unreadable or not JSON.
nlohmann::json read_json_file(const std::filesystem::path& path);

}  // namespace fathom
