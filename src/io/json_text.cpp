#include "io/json_text.h"

#include <algorithm>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "io/io_error.h"

namespace fathom {

using nlohmann::json;

json parse_json_object(std::string_view text, const std::filesystem::path& path,
                       std::optional<uint64_t> offset, int max_depth) {
  std::vector<std::vector<std::string>> keys;
  std::string twice;
  const json::parser_callback_t callback = [&](int depth, json::parse_event_t event, json& parsed) {
    const bool opens =
        event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (opens && depth >= max_depth) {
      fail_file(path, "its JSON is nested deeper than " + std::to_string(max_depth), "a damaged file?",
                offset);
    }
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
  json object = json::parse(text.begin(), text.end(), callback, /*allow_exceptions=*/false);
  if (object.is_discarded()) fail_file(path, "is not valid JSON", {}, offset);
  if (!object.is_object()) fail_file(path, "is not a JSON object", {}, offset);
  if (!twice.empty()) fail_file(path, "names '" + twice + "' twice", {}, offset);
  return object;
}

}  // namespace fathom
