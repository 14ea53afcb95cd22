// The expressions of templates, in the order of Jinja's precedence: the loosest first.

#include <charconv>

#include "core/error.h"
#include "text/jinja_parser.h"

namespace fathom::jinja {
namespace {

constexpr size_t kMaxDepth =
    200;  // each level takes about a dozen calls, of the parser and of the destructor

size_t depth_of(const ExpressionPtr& e) { return e ? e->depth : 0; }
size_t depth_of(const std::vector<ExpressionPtr>& list) {
  size_t depth = 0;
  for (const ExpressionPtr& e : list) depth = std::max(depth, depth_of(e));
  return depth;
}
size_t depth_of(const CallArguments& arguments) {
  size_t depth = depth_of(arguments.positional);
  for (const auto& entry : arguments.named) depth = std::max(depth, depth_of(entry.second));
  return depth;
}

struct ChildDepth {
  size_t operator()(const LiteralExpression&) const { return 0; }
  size_t operator()(const NameExpression&) const { return 0; }
  size_t operator()(const ListExpression& e) const { return depth_of(e.items); }
  size_t operator()(const DictExpression& e) const {
    size_t depth = 0;
    for (const auto& [key, value] : e.entries) depth = std::max({depth, depth_of(key), depth_of(value)});
    return depth;
  }
  size_t operator()(const AttributeExpression& e) const { return depth_of(e.object); }
  size_t operator()(const ItemExpression& e) const { return std::max(depth_of(e.object), depth_of(e.key)); }
  size_t operator()(const SliceExpression& e) const {
    return std::max({depth_of(e.object), depth_of(e.start), depth_of(e.stop), depth_of(e.step)});
  }
  size_t operator()(const CallExpression& e) const {
    return std::max(depth_of(e.callee), depth_of(e.arguments));
  }
  size_t operator()(const FilterExpression& e) const {
    return std::max(depth_of(e.input), depth_of(e.arguments));
  }
  size_t operator()(const TestExpression& e) const {
    return std::max(depth_of(e.input), depth_of(e.arguments));
  }
  size_t operator()(const NotExpression& e) const { return depth_of(e.operand); }
  size_t operator()(const SignExpression& e) const { return depth_of(e.operand); }
  size_t operator()(const LogicExpression& e) const { return std::max(depth_of(e.left), depth_of(e.right)); }
  size_t operator()(const BinaryExpression& e) const { return std::max(depth_of(e.left), depth_of(e.right)); }
  size_t operator()(const CompareExpression& e) const {
    size_t depth = depth_of(e.first);
    for (const auto& other : e.others) depth = std::max(depth, depth_of(other.second));
    return depth;
  }
  size_t operator()(const ConcatExpression& e) const { return depth_of(e.parts); }
  size_t operator()(const ConditionExpression& e) const {
    return std::max({depth_of(e.condition), depth_of(e.yes), depth_of(e.no)});
  }
};

struct NestingGuard {
  explicit NestingGuard(size_t& nesting, uint32_t line) : nesting(nesting) {
    if (++nesting > kMaxDepth) fail_at(line, "an expression nests too deep");
  }
  ~NestingGuard() { --nesting; }
  size_t& nesting;
};

Value text_value(std::string text) { return Value(std::make_shared<const std::string>(std::move(text))); }

[[noreturn]] void fail_unknown(uint32_t line, const char* kind, const std::string& name,
                               const std::vector<std::string>& known) {
  const std::string near = nearest(name, known);
  fail_at(line, std::string("the ") + kind + " '" + name + "' is not supported" +
                    (near.empty() ? "" : "; did the template mean '" + near + "'?"));
}

}  // namespace

ExpressionPtr ExpressionParser::make(uint32_t line, Expression::Node node) const {
  const size_t depth = std::visit(ChildDepth{}, node) + 1;
  if (depth > kMaxDepth) fail_at(line, "an expression nests too deep");
  return std::make_unique<const Expression>(Expression{std::move(node), line, depth});
}

ExpressionPtr ExpressionParser::expression(bool with_condition) {
  const NestingGuard guard(nesting_, t_.line());
  return with_condition ? condition() : logic_or();
}

ExpressionPtr ExpressionParser::tuple(bool with_condition) {
  const uint32_t line = t_.line();
  std::vector<ExpressionPtr> items;
  items.push_back(expression(with_condition));
  if (!t_.is_operator(",")) return std::move(items[0]);
  while (t_.skip_operator(",")) {
    if (t_.is(TokenType::kOutputEnd) || t_.is(TokenType::kTagEnd) || t_.is_operator(")")) break;
    items.push_back(expression(with_condition));
  }
  return make(line, ListExpression{std::move(items), SequenceType::kTuple});
}

ExpressionPtr ExpressionParser::condition() {
  uint32_t line = t_.line();
  ExpressionPtr value = logic_or();
  while (t_.skip_name("if")) {
    ExpressionPtr test = logic_or(), otherwise;
    if (t_.skip_name("else")) otherwise = expression();
    value = make(line, ConditionExpression{std::move(test), std::move(value), std::move(otherwise)});
    line = t_.line();
  }
  return value;
}

ExpressionPtr ExpressionParser::logic_or() {
  ExpressionPtr left = logic_and();
  while (t_.is_name("or")) {
    const uint32_t line = t_.next().line;
    ExpressionPtr right = logic_and();
    left = make(line, LogicExpression{std::move(left), std::move(right), true});
  }
  return left;
}

ExpressionPtr ExpressionParser::logic_and() {
  ExpressionPtr left = logic_not();
  while (t_.is_name("and")) {
    const uint32_t line = t_.next().line;
    ExpressionPtr right = logic_not();
    left = make(line, LogicExpression{std::move(left), std::move(right), false});
  }
  return left;
}

ExpressionPtr ExpressionParser::logic_not() {
  if (!t_.is_name("not")) return comparison();
  const uint32_t line = t_.next().line;
  const NestingGuard guard(nesting_, line);
  return make(line, NotExpression{logic_not()});
}

ExpressionPtr ExpressionParser::comparison() {
  static constexpr std::pair<const char*, Comparison> kOperators[] = {
      {"==", Comparison::kEqual}, {"!=", Comparison::kNotEqual},     {"<=", Comparison::kLessEqual},
      {"<", Comparison::kLess},   {">=", Comparison::kGreaterEqual}, {">", Comparison::kGreater}};
  const uint32_t line = t_.line();
  ExpressionPtr first = sum();
  std::vector<std::pair<Comparison, ExpressionPtr>> others;
  const auto read_operator = [&]() -> std::optional<Comparison> {
    for (const auto& [text, comparison] : kOperators) {
      if (t_.skip_operator(text)) return comparison;
    }
    if (t_.skip_name("in")) return Comparison::kIn;
    if (t_.is_name("not") && t_.peek(1).type == TokenType::kName && t_.peek(1).text == "in") {
      t_.next();
      t_.next();
      return Comparison::kNotIn;
    }
    return std::nullopt;
  };
  while (const auto comparison = read_operator()) others.emplace_back(*comparison, sum());
  if (others.empty()) return first;
  return make(line, CompareExpression{std::move(first), std::move(others)});
}

ExpressionPtr ExpressionParser::sum() {
  ExpressionPtr left = concat();
  while (t_.is_operator("+") || t_.is_operator("-")) {
    const Token op = t_.next();
    ExpressionPtr right = concat();
    left = make(op.line, BinaryExpression{op.text == "+" ? BinaryOperator::kAdd : BinaryOperator::kSubtract,
                                          std::move(left), std::move(right)});
  }
  return left;
}

ExpressionPtr ExpressionParser::concat() {
  const uint32_t line = t_.line();
  std::vector<ExpressionPtr> parts;
  do parts.push_back(product());
  while (t_.skip_operator("~"));
  if (parts.size() == 1) return std::move(parts[0]);
  return make(line, ConcatExpression{std::move(parts)});
}

ExpressionPtr ExpressionParser::product() {
  static constexpr std::pair<const char*, BinaryOperator> kOperators[] = {
      {"*", BinaryOperator::kMultiply},
      {"/", BinaryOperator::kDivide},
      {"//", BinaryOperator::kFloorDivide},
      {"%", BinaryOperator::kModulo}};
  ExpressionPtr left = power();
  while (true) {
    const auto op = std::find_if(std::begin(kOperators), std::end(kOperators),
                                 [&](const auto& entry) { return t_.is_operator(entry.first); });
    if (op == std::end(kOperators)) return left;
    const uint32_t line = t_.next().line;
    ExpressionPtr right = power();
    left = make(line, BinaryExpression{op->second, std::move(left), std::move(right)});
  }
}

ExpressionPtr ExpressionParser::power() {
  ExpressionPtr left = unary(true);
  while (t_.is_operator("**")) {
    const uint32_t line = t_.next().line;
    ExpressionPtr right = unary(true);
    left = make(line, BinaryExpression{BinaryOperator::kPower, std::move(left), std::move(right)});
  }
  return left;
}

/// A sign reaches over what stands behind a dot or bracket, and a filter over the sign: -x|abs is (-x)|abs.
ExpressionPtr ExpressionParser::unary(bool with_filter) {
  const NestingGuard guard(nesting_, t_.line());
  ExpressionPtr value;
  if (t_.is_operator("-") || t_.is_operator("+")) {
    const Token sign = t_.next();
    value = make(sign.line, SignExpression{unary(false), sign.text == "-"});
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filter ? filters_and_tests(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::primary() {
  const uint32_t line = t_.line();
  if (t_.is(TokenType::kName)) {
    const std::string name = t_.next().text;
    if (name == "true" || name == "True") return make(line, LiteralExpression{Value(true)});
    if (name == "false" || name == "False") return make(line, LiteralExpression{Value(false)});
    if (name == "none" || name == "None") return make(line, LiteralExpression{Value(None{})});
    return make(line, NameExpression{name});
  }
  if (t_.is(TokenType::kString)) {
    std::string text;
    while (t_.is(TokenType::kString)) text += t_.next().text;
    return make(line, LiteralExpression{text_value(std::move(text))});
  }
  if (t_.is(TokenType::kInteger) || t_.is(TokenType::kFloat)) return number();
  if (t_.skip_operator("(")) {
    if (t_.skip_operator(")")) return make(line, ListExpression{{}, SequenceType::kTuple});
    ExpressionPtr inner = tuple();
    t_.expect_operator(")");
    return inner;
  }
  if (t_.is_operator("[")) return list();
  if (t_.is_operator("{")) return dict();
  t_.unexpected("an expression");
}

ExpressionPtr ExpressionParser::number() {
  const Token token = t_.next();
  const char* const end = token.text.data() + token.text.size();
  if (token.type == TokenType::kInteger) {
    int64_t value = 0;
    if (std::from_chars(token.text.data(), end, value).ec != std::errc())
      fail_at(token.line, "the number " + token.text + " is too large");
    return make(token.line, LiteralExpression{Value(value)});
  }
  double value = 0;
  if (std::from_chars(token.text.data(), end, value).ec != std::errc())
    fail_at(token.line, "the number " + token.text + " is out of range");
  return make(token.line, LiteralExpression{Value(value)});
}

ExpressionPtr ExpressionParser::list() {
  const uint32_t line = t_.next().line;
  std::vector<ExpressionPtr> items;
  while (!t_.is_operator("]")) {
    items.push_back(expression());
    if (!t_.is_operator("]")) t_.expect_operator(",");
  }
  t_.next();
  return make(line, ListExpression{std::move(items), SequenceType::kList});
}

ExpressionPtr ExpressionParser::dict() {
  const uint32_t line = t_.next().line;
  DictExpression made;
  while (!t_.is_operator("}")) {
    ExpressionPtr key = expression();
    t_.expect_operator(":");
    made.entries.emplace_back(std::move(key), expression());
    if (!t_.is_operator("}")) t_.expect_operator(",");
  }
  t_.next();
  return make(line, std::move(made));
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr object) {
  while (true) {
    const uint32_t line = t_.line();
    if (t_.is_operator(".") || t_.is_operator("["))
      object = subscript(std::move(object));
    else if (t_.is_operator("("))
      object = make(line, CallExpression{std::move(object), call_arguments()});
    else
      return object;
  }
}

ExpressionPtr ExpressionParser::filters_and_tests(ExpressionPtr input) {
  while (true) {
    const uint32_t line = t_.line();
    if (t_.skip_operator("|"))
      input = filter(std::move(input));
    else if (t_.skip_name("is"))
      input = test(std::move(input));
    else if (t_.is_operator("("))
      input = make(line, CallExpression{std::move(input), call_arguments()});
    else
      return input;
  }
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr object) {
  const uint32_t line = t_.line();
  if (t_.skip_operator(".")) {
    if (t_.is(TokenType::kInteger)) return make(line, ItemExpression{std::move(object), number()});
    return make(line, AttributeExpression{std::move(object), t_.expect_name()});
  }
  t_.expect_operator("[");
  const auto bound = [&]() -> ExpressionPtr {
    return t_.is_operator(":") || t_.is_operator("]") ? nullptr : expression();
  };
  if (t_.is_operator("]")) t_.unexpected("an index");
  ExpressionPtr start = bound();
  if (t_.skip_operator("]")) return make(line, ItemExpression{std::move(object), std::move(start)});
  t_.expect_operator(":");
  ExpressionPtr stop = bound(), step;
  if (t_.skip_operator(":")) step = bound();
  t_.expect_operator("]");
  return make(line, SliceExpression{std::move(object), std::move(start), std::move(stop), std::move(step)});
}

CallArguments ExpressionParser::call_arguments() {
  CallArguments arguments;
  t_.expect_operator("(");
  while (!t_.is_operator(")")) {
    if (t_.is_operator("*") || t_.is_operator("**"))
      fail_at(t_.line(), "arguments after * or ** are not supported");
    if (t_.is(TokenType::kName) && t_.peek(1).type == TokenType::kOperator && t_.peek(1).text == "=") {
      std::string name = t_.next().text;
      t_.next();
      arguments.named.emplace_back(std::move(name), expression());
    } else {
      if (!arguments.named.empty()) fail_at(t_.line(), "an argument without a name behind one with a name");
      arguments.positional.push_back(expression());
    }
    if (!t_.is_operator(")")) t_.expect_operator(",");
  }
  t_.next();
  return arguments;
}

ExpressionPtr ExpressionParser::filter(ExpressionPtr input) {
  const uint32_t line = t_.line();
  const std::string name = t_.expect_name();
  const FilterFunction function = find_filter(name);
  if (!function) fail_unknown(line, "filter", name, filter_names());
  CallArguments arguments;
  if (t_.is_operator("(")) arguments = call_arguments();
  return make(line, FilterExpression{std::move(input), function, std::move(arguments)});
}

ExpressionPtr ExpressionParser::test(ExpressionPtr input) {
  const uint32_t line = t_.line();
  const bool negated = t_.skip_name("not");
  const std::string name = t_.expect_name();
  const TestFunction function = find_test(name);
  if (!function) fail_unknown(line, "test", name, test_names());
  CallArguments arguments;
  if (t_.is_operator("(")) {
    arguments = call_arguments();
  } else if (t_.is(TokenType::kString) || t_.is(TokenType::kInteger) || t_.is(TokenType::kFloat) ||
             t_.is_operator("[") || t_.is_operator("{") ||
             (t_.is(TokenType::kName) && !t_.is_name("else") && !t_.is_name("or") && !t_.is_name("and"))) {
    if (t_.is_name("is")) fail_at(line, "several tests with 'is' in a row");
    arguments.positional.push_back(postfix(primary()));
  }
  ExpressionPtr made = make(line, TestExpression{std::move(input), function, std::move(arguments)});
  return negated ? make(line, NotExpression{std::move(made)}) : std::move(made);
}

}  // namespace fathom::jinja
