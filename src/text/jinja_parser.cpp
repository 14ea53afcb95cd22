#include "text/jinja_parser.h"

#include "core/error.h"

namespace fathom::jinja {
namespace {

constexpr size_t kMaxBlocks = 100;  // in one another

std::string described(const Token& token) {
  switch (token.type) {
    case TokenType::kEnd:
      return "the end of the template";
    case TokenType::kOutputEnd:
      return "the end of {{ }}";
    case TokenType::kTagEnd:
      return "the end of a tag";
    case TokenType::kString:
      return "a string";
    default:
      return "'" + token.text + "'";
  }
}

class StatementParser {
 public:
  explicit StatementParser(std::string_view source) : t_(tokenize(source)) {}

  Block run() { return block({}); }

 private:
  /// Statements up to a tag of one of these names, which is left to be read; without names, to the end.
  Block block(std::initializer_list<std::string_view> ends) {
    if (++nesting_ > kMaxBlocks) fail_at(t_.line(), "blocks nest too deep");
    Block statements;
    const uint32_t begin = t_.line();
    while (!t_.is(TokenType::kEnd)) {
      const Token token = t_.next();
      if (token.type == TokenType::kData) {
        statements.push_back({TextStatement{token.text}, token.line});
      } else if (token.type == TokenType::kOutputBegin) {
        statements.push_back({OutputStatement{e_.tuple()}, token.line});
        t_.expect(TokenType::kOutputEnd);
      } else if (t_.is(TokenType::kName) &&
                 std::find(ends.begin(), ends.end(), t_.peek().text) != ends.end()) {
        --nesting_;
        return statements;
      } else {
        statements.push_back(statement());
        t_.expect(TokenType::kTagEnd);
      }
    }
    if (ends.size() > 0) fail_at(begin, "a block has no {% " + std::string(*(ends.end() - 1)) + " %}");
    --nesting_;
    return statements;
  }
  /// The same, behind the end of the tag that opens it; the closing name is read too.
  Block body(std::string_view end) {
    open_body();
    Block statements = block({end});
    t_.next();
    return statements;
  }
  void open_body() {
    t_.skip_operator(":");
    t_.expect(TokenType::kTagEnd);
  }

  Statement statement() {
    const uint32_t line = t_.line();
    const std::string name = t_.expect_name();
    if (name == "if") return {if_statement(), line};
    if (name == "for") return {for_statement(), line};
    if (name == "set") return set_statement(line);
    if (name == "macro") return {macro_statement(), line};
    if (name == "with") return {with_statement(), line};
    if (name == "filter") return {filter_statement(), line};
    if (name == "generation") return {GenerationStatement{outside_loops("endgeneration")}, line};
    if (name == "break" || name == "continue") {
      if (loops_ == 0) fail_at(line, "{% " + name + " %} outside of a loop");
      if (name == "break") return {BreakStatement{}, line};
      return {ContinueStatement{}, line};
    }
    static const std::vector<std::string> known = {"if",     "for",        "set",   "macro",   "with",
                                                   "filter", "generation", "break", "continue"};
    const std::string near = nearest(name, known);
    fail_at(line, "the tag {% " + name + " %} is not supported here" +
                      (near.empty() ? "" : "; did the template mean '" + near + "'?"));
  }

  IfStatement if_statement() {
    IfStatement made;
    while (true) {
      ExpressionPtr condition = e_.tuple(false);
      open_body();
      made.branches.emplace_back(std::move(condition), block({"elif", "else", "endif"}));
      const std::string end = t_.expect_name();
      if (end == "else") made.otherwise = body("endif");
      if (end != "elif") return made;
    }
  }

  ForStatement for_statement() {
    ForStatement made;
    made.target = target();
    if (!t_.skip_name("in")) t_.unexpected("'in'");
    made.items = e_.tuple(false);
    if (t_.skip_name("if")) made.condition = e_.expression();
    if (t_.is_name("recursive")) fail_at(t_.line(), "recursive loops are not supported");
    open_body();
    ++loops_;
    made.body = block({"else", "endfor"});
    --loops_;
    if (t_.expect_name() == "else") made.otherwise = body("endfor");
    return made;
  }

  Statement set_statement(uint32_t line) {
    Target to = target();
    if (t_.skip_operator("=")) return {SetStatement{std::move(to), e_.tuple()}, line};
    CaptureStatement made;
    made.target = std::make_unique<Target>(std::move(to));
    while (t_.skip_operator("|")) made.filters.push_back(e_.filter(nullptr));
    made.body = outside_loops("endset");
    return {std::move(made), line};
  }

  CaptureStatement filter_statement() {
    CaptureStatement made;
    do made.filters.push_back(e_.filter(nullptr));
    while (t_.skip_operator("|"));
    made.body = outside_loops("endfilter");
    return made;
  }

  MacroStatement macro_statement() {
    MacroStatement made;
    made.name = t_.expect_name();
    t_.expect_operator("(");
    while (!t_.is_operator(")")) {
      std::string name = t_.expect_name();
      ExpressionPtr otherwise;
      if (t_.skip_operator("="))
        otherwise = e_.expression();
      else if (!made.parameters.empty() && made.parameters.back().second)
        fail_at(t_.line(), "the parameter '" + name + "' without a default behind one with a default");
      made.parameters.emplace_back(std::move(name), std::move(otherwise));
      if (!t_.is_operator(")")) t_.expect_operator(",");
    }
    t_.next();
    made.body = outside_loops("endmacro");
    return made;
  }

  WithStatement with_statement() {
    WithStatement made;
    while (!t_.is(TokenType::kTagEnd)) {
      if (!made.values.empty()) t_.expect_operator(",");
      Target to = target();
      t_.expect_operator("=");
      made.values.emplace_back(std::move(to), e_.expression());
    }
    made.body = body("endwith");
    return made;
  }

  /// A body in which {% break %} cannot mean the loop around it.
  Block outside_loops(std::string_view end) {
    const size_t loops = std::exchange(loops_, 0);
    Block statements = body(end);
    loops_ = loops;
    return statements;
  }

  Target target() {
    Target first = one_target();
    if (!t_.is_operator(",")) return first;
    Target tuple;
    tuple.is_tuple = true;
    tuple.items.push_back(std::move(first));
    while (t_.skip_operator(",")) {
      if (!t_.is(TokenType::kName) && !t_.is_operator("(")) break;
      if (t_.is_name("in")) break;
      tuple.items.push_back(one_target());
    }
    return tuple;
  }

  Target one_target() {
    if (t_.skip_operator("(")) {
      if (++nesting_ > kMaxBlocks) fail_at(t_.line(), "blocks nest too deep");
      Target inner = target();
      --nesting_;
      t_.expect_operator(")");
      return inner;
    }
    Target made;
    const uint32_t line = t_.line();
    made.name = t_.expect_name();
    for (const char* constant : {"true", "True", "false", "False", "none", "None"}) {
      if (made.name == constant) fail_at(line, "cannot assign to '" + made.name + "'");
    }
    if (t_.skip_operator(".")) made.attribute = t_.expect_name();
    return made;
  }

  TokenReader t_;
  ExpressionParser e_{t_};
  size_t nesting_ = 0, loops_ = 0;
};

}  // namespace

void TokenReader::unexpected(const std::string& wanted) const {
  fail_at(peek().line, described(peek()) + " where " + wanted + " is wanted");
}

void TokenReader::expect_operator(std::string_view text) {
  if (!skip_operator(text)) unexpected("'" + std::string(text) + "'");
}

void TokenReader::expect(TokenType type) {
  if (!is(type)) unexpected(described({type, {}, 0}));
  next();
}

std::string TokenReader::expect_name() {
  if (!is(TokenType::kName)) unexpected("a name");
  return next().text;
}

Block parse(std::string_view source) { return StatementParser(source).run(); }

}  // namespace fathom::jinja
