#pragma once
// Errors of the library: typed, with fields; the one line that a user reads is built from the fields.
// The library throws fathom::Error and neither prints nor exits; src/cli maps it to a message and an exit
// code.

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace fathom {

enum class ErrorCode {
  kUsage,   ///< The command line or a setting is wrong: exit code 2.
  kFailed,  ///< The input or the machine is at fault: exit code 1.
};

/// What went wrong, where, and what to do about it.
struct ErrorFields {
  std::string what{};                ///< The fault itself: "needs 90112 bytes, file has 81920 left".
  std::string path{};                ///< The file or folder, if there is one.
  std::string tensor{};              ///< The tensor, if there is one.
  std::optional<uint64_t> offset{};  ///< Byte offset in `path`.
  std::optional<uint64_t> line{};    ///< 1-based line in `path`.
  std::string hint{};                ///< What to do.
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, ErrorFields fields);

  ErrorCode code() const { return code_; }
  const ErrorFields& fields() const { return fields_; }

 private:
  ErrorCode code_;
  ErrorFields fields_;
};

/// Shorthands. `fail` is for bad input or a failed operation (exit 1), `usage_error` for bad arguments (exit
/// 2).
[[noreturn]] void fail(ErrorFields fields);
[[noreturn]] void fail(std::string what, std::string hint = {});
[[noreturn]] void usage_error(std::string what, std::string hint = {});

/// The candidate with the smallest edit distance to `word`, or "" where none is within half its length.
/// For messages such as: unknown scheme 'lsn'; did you mean 'lns'?
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace fathom
