#pragma once
// The JSON inside a page, and what stands where in it.

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/json.h"

namespace fathom {

inline nlohmann::json data_of(const std::string& page) {
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const size_t begin = page.find(open) + open.size();
  return parse_json(page.substr(begin, page.find("</script>", begin) - begin));
}

inline std::vector<std::string> titles_of(const nlohmann::json& page) {
  std::vector<std::string> out;
  for (const auto& section : page["sections"]) out.push_back(section["title"]);
  return out;
}

/// Null where there is none.
inline nlohmann::json section_of(const nlohmann::json& page, const std::string& title) {
  for (const auto& section : page["sections"]) {
    if (section["title"] == title) return section;
  }
  return {};
}

/// The first block whose `key` is `value`; null where there is none.
inline nlohmann::json block_where(const nlohmann::json& page, const char* key, const std::string& value) {
  for (const auto& section : page["sections"]) {
    for (const auto& block : section["blocks"]) {
      if (block.contains(key) && block[key] == value) return block;
    }
  }
  return {};
}
inline nlohmann::json block_of(const nlohmann::json& page, const std::string& kind) {
  return block_where(page, "kind", kind);
}
inline nlohmann::json chart_of(const nlohmann::json& page, const std::string& title) {
  return block_where(page, "title", title);
}

}  // namespace fathom
