#pragma once
// A parsed template: statements that hold expressions.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja_runtime.h"

namespace fathom::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

struct LiteralExpression {
  Value value;
};
struct NameExpression {
  std::string name;
};
struct ListExpression {
  std::vector<ExpressionPtr> items;
  SequenceType type;
};
struct DictExpression {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> entries;
};
struct AttributeExpression {
  ExpressionPtr object;
  std::string name;
};
struct ItemExpression {
  ExpressionPtr object, key;
};
struct SliceExpression {
  ExpressionPtr object, start, stop, step;  ///< the last three may be null
};
struct CallExpression {
  ExpressionPtr callee;
  CallArguments arguments;
};
struct FilterExpression {
  ExpressionPtr input;  ///< null where a block's text comes in
  FilterFunction function;
  CallArguments arguments;
};
struct TestExpression {
  ExpressionPtr input;
  TestFunction function;
  CallArguments arguments;
};
struct NotExpression {
  ExpressionPtr operand;
};
struct SignExpression {
  ExpressionPtr operand;
  bool negative;
};
struct LogicExpression {
  ExpressionPtr left, right;
  bool is_or;
};
struct BinaryExpression {
  BinaryOperator op;
  ExpressionPtr left, right;
};
struct CompareExpression {
  ExpressionPtr first;
  std::vector<std::pair<Comparison, ExpressionPtr>> others;
};
struct ConcatExpression {
  std::vector<ExpressionPtr> parts;
};
struct ConditionExpression {
  ExpressionPtr condition, yes, no;  ///< no may be null
};

struct Expression {
  using Node = std::variant<LiteralExpression, NameExpression, ListExpression, DictExpression,
                            AttributeExpression, ItemExpression, SliceExpression, CallExpression,
                            FilterExpression, TestExpression, NotExpression, SignExpression, LogicExpression,
                            BinaryExpression, CompareExpression, ConcatExpression, ConditionExpression>;
  Node node;
  uint32_t line;
  size_t depth;  ///< of expressions in it, and 1
};

/// What is assigned to: a name, an attribute of a namespace, or several.
struct Target {
  std::string name;
  std::string attribute;      ///< "" for a name
  std::vector<Target> items;  ///< where there are any, the target is a tuple
  bool is_tuple = false;
};

struct Statement;
using Block = std::vector<Statement>;

struct TextStatement {
  std::string text;
};
struct OutputStatement {
  ExpressionPtr value;
};
struct IfStatement {
  std::vector<std::pair<ExpressionPtr, Block>> branches;
  Block otherwise;
};
struct ForStatement {
  Target target;
  ExpressionPtr items, condition;  ///< condition may be null
  Block body, otherwise;
};
struct SetStatement {
  Target target;
  ExpressionPtr value;
};
/// {% set x %}...{% endset %}, and, without a target, {% filter f %}...{% endfilter %}.
struct CaptureStatement {
  std::unique_ptr<Target> target;
  std::vector<ExpressionPtr> filters;  ///< FilterExpressions without an input, in their order
  Block body;
};
struct MacroStatement {
  std::string name;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  ///< with the default, or null
  Block body;
};
struct WithStatement {
  std::vector<std::pair<Target, ExpressionPtr>> values;
  Block body;
};
struct GenerationStatement {
  Block body;
};
struct BreakStatement {};
struct ContinueStatement {};

struct Statement {
  using Node =
      std::variant<TextStatement, OutputStatement, IfStatement, ForStatement, SetStatement, CaptureStatement,
                   MacroStatement, WithStatement, GenerationStatement, BreakStatement, ContinueStatement>;
  Node node;
  uint32_t line;
};

}  // namespace fathom::jinja
