#pragma once
// Runs a parsed template.

#include <string>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"

namespace fathom::jinja {

struct Output {
  std::string text;
  /// What {% generation %} enclosed: byte ranges of the text.
  std::vector<std::pair<size_t, size_t>> generated;
};

/// Errors: Error (line, no path) for what the template raises or does wrong, and for a limit that it passes.
Output run(Runtime& runtime, const Block& statements, std::vector<std::pair<std::string, Value>> variables);

}  // namespace fathom::jinja
