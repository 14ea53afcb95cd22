#pragma once
// The text of a template as tokens, as Jinja's own lexer cuts it with trim_blocks and lstrip_blocks set,
// which is how `transformers` reads chat templates.
//
// Source: pallets/jinja, src/jinja2/lexer.py.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::jinja {

enum class TokenType {
  kData,
  kOutputBegin,
  kOutputEnd,
  kTagBegin,
  kTagEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenType type;
  std::string text;  ///< of a string: what it stands for
  uint32_t line;     ///< 1-based
};

/// Errors: Error (line, no path) for a tag that does not end, brackets that do not match, a character or an
/// escape that has no meaning.
std::vector<Token> tokenize(std::string_view source);

}  // namespace fathom::jinja
