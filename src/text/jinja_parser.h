#pragma once
// Tokens to statements. The grammar is that of pallets/jinja, src/jinja2/parser.py, less what needs other
// templates (extends, block, include, import) and what chat templates do not use (call, print, autoescape,
// recursive loops, *arguments).

#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace fathom::jinja {

/// Reads tokens one by one; both halves of the parser share it.
class TokenReader {
 public:
  explicit TokenReader(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Token next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is(TokenType type, std::string_view text = {}) const {
    return peek().type == type && (text.empty() || peek().text == text);
  }
  bool is_operator(std::string_view text) const { return is(TokenType::kOperator, text); }
  bool is_name(std::string_view text) const { return is(TokenType::kName, text); }
  bool skip(TokenType type, std::string_view text) { return is(type, text) && (next(), true); }
  bool skip_operator(std::string_view text) { return skip(TokenType::kOperator, text); }
  bool skip_name(std::string_view text) { return skip(TokenType::kName, text); }
  void expect_operator(std::string_view text);
  void expect(TokenType type);
  std::string expect_name();
  uint32_t line() const { return peek().line; }
  [[noreturn]] void unexpected(const std::string& wanted) const;

 private:
  std::vector<Token> tokens_;  // the last one is kEnd
  size_t at_ = 0;
};

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenReader& tokens) : t_(tokens) {}

  ExpressionPtr expression(bool with_condition = true);
  /// An expression, or several with commas between them: a tuple.
  ExpressionPtr tuple(bool with_condition = true);
  CallArguments call_arguments();
  /// `|name(...)`, behind the bar.
  ExpressionPtr filter(ExpressionPtr input);

 private:
  ExpressionPtr condition();
  ExpressionPtr logic_or();
  ExpressionPtr logic_and();
  ExpressionPtr logic_not();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concat();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool with_filter);
  ExpressionPtr primary();
  ExpressionPtr postfix(ExpressionPtr object);
  ExpressionPtr filters_and_tests(ExpressionPtr input);
  ExpressionPtr subscript(ExpressionPtr object);
  ExpressionPtr test(ExpressionPtr input);
  ExpressionPtr list();
  ExpressionPtr dict();
  ExpressionPtr number();
  ExpressionPtr make(uint32_t line, Expression::Node node) const;

  TokenReader& t_;
  size_t nesting_ = 0;
};

/// Errors: Error (line, no path) naming the construct.
Block parse(std::string_view source);

}  // namespace fathom::jinja
