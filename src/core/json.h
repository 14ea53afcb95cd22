#pragma once
// JSON read in one place. Whoever calls nlohmann::json::parse has g++ compile the parser once more: 1.3 s of
// each file that does.

#include <filesystem>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace fathom {

/// Errors: nlohmann::json::parse_error where `text` is no JSON.
nlohmann::json parse_json(std::string_view text);

/// The same; where `text` is none, a value of which is_discarded() is true.
nlohmann::json parse_json_or_discard(std::string_view text);

/// parse_json of a file. Errors: those of read_text_file and of parse_json.
nlohmann::json read_json(const std::filesystem::path& path);

}  // namespace fathom
