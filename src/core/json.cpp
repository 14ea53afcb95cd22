#include "core/json.h"

#include <nlohmann/json.hpp>

#include "core/file.h"

namespace fathom {

nlohmann::json parse_json(std::string_view text) { return nlohmann::json::parse(text); }

nlohmann::json parse_json_or_discard(std::string_view text) {
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
}

nlohmann::json read_json(const std::filesystem::path& path) { return parse_json(read_text_file(path)); }

}  // namespace fathom
