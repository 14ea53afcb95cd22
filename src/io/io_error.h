#pragma once
// Shorthands for errors that name a place in a checkpoint.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/error.h"

namespace fathom {

/// Throws Error(kFailed) for `path`; `offset` counts bytes of the file.
[[noreturn]] inline void fail_file(const std::filesystem::path& path, std::string what, std::string hint = {},
                                   std::optional<uint64_t> offset = {}) {
  fail({.what = std::move(what), .path = path.string(), .offset = offset, .hint = std::move(hint)});
}

/// The same for a tensor of the file.
[[noreturn]] inline void fail_tensor(const std::filesystem::path& path, std::string tensor, std::string what,
                                     std::optional<uint64_t> offset = {}, std::string hint = {}) {
  fail({.what = std::move(what),
        .path = path.string(),
        .tensor = std::move(tensor),
        .offset = offset,
        .hint = std::move(hint)});
}

}  // namespace fathom
