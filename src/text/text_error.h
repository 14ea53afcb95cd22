#pragma once
// Shorthands for errors that name a file.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/error.h"

namespace fathom {

/// Throws Error(kFailed) for `path`; `line` is 1-based, `offset` counts bytes of the (decompressed) file.
[[noreturn]] inline void fail_in(const std::filesystem::path& path, std::string what, std::string hint = {},
                                 std::optional<uint64_t> line = {}, std::optional<uint64_t> offset = {}) {
  fail({.what = std::move(what),
        .path = path.string(),
        .offset = offset,
        .line = line,
        .hint = std::move(hint)});
}

}  // namespace fathom
