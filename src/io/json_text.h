#pragma once
// JSON of an untrusted file.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace fathom {

/// Parses `text`, which must be an object. Errors: Error naming `path` (and `offset`, where the text begins
/// in it) where it is not, where any object in it has the same key twice (the last would win without a word),
/// or where it is nested deeper than `max_depth` (a parsed value takes many times the memory of its text).
nlohmann::json parse_json_object(std::string_view text, const std::filesystem::path& path,
                                 std::optional<uint64_t> offset = {}, int max_depth = 32);

}  // namespace fathom
