#include "text/jinja_evaluator.h"

#include <algorithm>

namespace fathom::jinja {

void set_entry(std::vector<std::pair<std::string, Value>>& entries, const std::string& name, Value value) {
  for (auto& [existing, old] : entries) {
    if (existing == name) {
      old = std::move(value);
      return;
    }
  }
  entries.emplace_back(name, std::move(value));
}

Value Evaluator::evaluate(const Expression& expression) {
  runtime_.step();
  const Runtime::Nested nested(runtime_);
  runtime_.line = expression.line;
  return std::visit([&](const auto& e) { return evaluate(e); }, expression.node);
}

Value Evaluator::lookup(const std::string& name) const {
  for (const Scope* scope = scope_.get(); scope; scope = scope->outer.get()) {
    for (const auto& [existing, value] : scope->variables) {
      if (existing == name) return value;
    }
  }
  return runtime_.undefined("'" + name + "' is undefined");
}

Value Evaluator::evaluate(const ListExpression& e) {
  Values items;
  for (const ExpressionPtr& item : e.items) items.push_back(evaluate(*item));
  return runtime_.list(std::move(items), e.type);
}

Value Evaluator::evaluate(const DictExpression& e) {
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [key_expression, value_expression] : e.entries) {
    Value key = evaluate(*key_expression), value = evaluate(*value_expression);
    require_defined(runtime_, key);
    if (key.sequence() || key.dict()) runtime_.fail("a " + type_name(key) + " cannot be the key of a dict");
    const auto same = std::find_if(entries.begin(), entries.end(),
                                   [&](const auto& entry) { return equal(entry.first, key); });
    if (same != entries.end())
      same->second = std::move(value);
    else
      entries.emplace_back(std::move(key), std::move(value));
  }
  return runtime_.dict(std::move(entries));
}

Value Evaluator::evaluate(const AttributeExpression& e) {
  const Value object = evaluate(*e.object);
  return get_attribute(runtime_, object, e.name);
}

Value Evaluator::evaluate(const ItemExpression& e) {
  const Value object = evaluate(*e.object), key = evaluate(*e.key);
  return get_item(runtime_, object, key);
}

Value Evaluator::evaluate(const SliceExpression& e) {
  const Value object = evaluate(*e.object);
  Value start, stop, step;
  if (e.start) start = evaluate(*e.start);
  if (e.stop) stop = evaluate(*e.stop);
  if (e.step) step = evaluate(*e.step);
  return get_slice(runtime_, object, e.start ? &start : nullptr, e.stop ? &stop : nullptr,
                   e.step ? &step : nullptr);
}

Arguments Evaluator::evaluate(const CallArguments& arguments) {
  Arguments values;
  for (const ExpressionPtr& argument : arguments.positional) values.positional.push_back(evaluate(*argument));
  for (const auto& [name, argument] : arguments.named) values.named.emplace_back(name, evaluate(*argument));
  return values;
}

Value Evaluator::evaluate(const CallExpression& e) {
  const Value callee = evaluate(*e.callee);
  const Arguments arguments = evaluate(e.arguments);
  return call(runtime_, callee, arguments);
}

Value Evaluator::evaluate(const FilterExpression& e) {
  const Value input = evaluate(*e.input);
  const Arguments arguments = evaluate(e.arguments);
  return e.function(runtime_, input, arguments);
}

Value Evaluator::filter(const Expression& filter, const Value& input) {
  const auto& e = std::get<FilterExpression>(filter.node);
  const Arguments arguments = evaluate(e.arguments);
  return e.function(runtime_, input, arguments);
}

Value Evaluator::evaluate(const TestExpression& e) {
  const Value input = evaluate(*e.input);
  const Arguments arguments = evaluate(e.arguments);
  return Value(e.function(runtime_, input, arguments));
}

Value Evaluator::evaluate(const NotExpression& e) { return Value(!truth(evaluate(*e.operand))); }

Value Evaluator::evaluate(const SignExpression& e) {
  const Value value = evaluate(*e.operand);
  return e.negative ? negate(runtime_, value)
                    : apply(runtime_, BinaryOperator::kAdd, Value(int64_t{0}), value);
}

Value Evaluator::evaluate(const LogicExpression& e) {
  Value left = evaluate(*e.left);
  return truth(left) == e.is_or ? left : evaluate(*e.right);
}

Value Evaluator::evaluate(const BinaryExpression& e) {
  const Value left = evaluate(*e.left), right = evaluate(*e.right);
  return apply(runtime_, e.op, left, right);
}

Value Evaluator::evaluate(const CompareExpression& e) {
  Value left = evaluate(*e.first);
  for (const auto& [comparison, expression] : e.others) {
    Value right = evaluate(*expression);
    if (!holds(runtime_, comparison, left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Evaluator::evaluate(const ConcatExpression& e) {
  std::string text;
  for (const ExpressionPtr& part : e.parts) text += soft_text(runtime_, evaluate(*part));
  return runtime_.text(std::move(text));
}

Value Evaluator::evaluate(const ConditionExpression& e) {
  if (truth(evaluate(*e.condition))) return evaluate(*e.yes);
  if (e.no) return evaluate(*e.no);
  return runtime_.undefined("the condition was false, and there is no 'else'");
}

}  // namespace fathom::jinja
