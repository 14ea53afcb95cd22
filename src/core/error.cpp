#include "core/error.h"

#include <algorithm>
#include <utility>

namespace fathom {
namespace {

std::string message_of(const ErrorFields& f) {
  std::string text;
  if (!f.path.empty()) text += f.path;
  if (f.line) text += (text.empty() ? "line " : ":") + std::to_string(*f.line);
  if (!text.empty()) text += ": ";
  if (!f.tensor.empty()) text += "tensor '" + f.tensor + "'";
  if (f.offset) text += (f.tensor.empty() ? "at byte " : " at byte ") + std::to_string(*f.offset);
  if (!f.tensor.empty() || f.offset) text += ": ";
  text += f.what;
  if (!f.hint.empty()) text += "; " + f.hint;
  // One line, without a zero that would end it or codes that a terminal obeys, whatever a file holds.
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  std::replace_if(text.begin(), text.end(), is_control, ' ');
  return text;
}

// Optimal string alignment distance: insert, delete, substitute, or swap two neighbours ("lsn" is one step
// from "lns").
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] =
          std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

Error::Error(ErrorCode code, ErrorFields fields)
    : std::runtime_error(message_of(fields)), code_(code), fields_(std::move(fields)) {}

void fail(ErrorFields fields) { throw Error(ErrorCode::kFailed, std::move(fields)); }

void fail(std::string what, std::string hint) {
  fail(ErrorFields{.what = std::move(what), .hint = std::move(hint)});
}

void usage_error(std::string what, std::string hint) {
  throw Error(ErrorCode::kUsage, ErrorFields{.what = std::move(what), .hint = std::move(hint)});
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(1, word.size() / 2) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace fathom
