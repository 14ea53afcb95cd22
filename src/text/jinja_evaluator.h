#pragma once
// The value of an expression, in a chain of scopes.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"

namespace fathom::jinja {

/// Sets the entry of this name, or adds one.
void set_entry(std::vector<std::pair<std::string, Value>>& entries, const std::string& name, Value value);

struct Scope;
using ScopePtr = std::shared_ptr<Scope>;

/// The variables of a block. Loops, macros, `with` and blocks that are captured have one of their own; what
/// they set is gone at their end.
struct Scope {
  explicit Scope(ScopePtr outer) : outer(std::move(outer)) {}
  void set(const std::string& name, Value value) { set_entry(variables, name, std::move(value)); }

  std::vector<std::pair<std::string, Value>> variables;
  ScopePtr outer;
};

class Evaluator {
 public:
  Evaluator(Runtime& runtime, ScopePtr scope) : runtime_(runtime), scope_(std::move(scope)) {}

  Value evaluate(const Expression& expression);
  /// A FilterExpression on a value that comes from elsewhere.
  Value filter(const Expression& filter, const Value& input);
  /// The variable of this name, or undefined.
  Value lookup(const std::string& name) const;

  Scope& scope() { return *scope_; }
  const ScopePtr& scope_ptr() const { return scope_; }

 private:
  friend class InnerScope;
  Value evaluate(const LiteralExpression& e) { return e.value; }
  Value evaluate(const NameExpression& e) { return lookup(e.name); }
  Value evaluate(const ListExpression& e);
  Value evaluate(const DictExpression& e);
  Value evaluate(const AttributeExpression& e);
  Value evaluate(const ItemExpression& e);
  Value evaluate(const SliceExpression& e);
  Value evaluate(const CallExpression& e);
  Value evaluate(const FilterExpression& e);
  Value evaluate(const TestExpression& e);
  Value evaluate(const NotExpression& e);
  Value evaluate(const SignExpression& e);
  Value evaluate(const LogicExpression& e);
  Value evaluate(const BinaryExpression& e);
  Value evaluate(const CompareExpression& e);
  Value evaluate(const ConcatExpression& e);
  Value evaluate(const ConditionExpression& e);
  Arguments evaluate(const CallArguments& arguments);

  Runtime& runtime_;
  ScopePtr scope_;
};

/// A scope inside of the evaluator's, or of another one, as long as the object lives.
class InnerScope {
 public:
  explicit InnerScope(Evaluator& evaluator) : InnerScope(evaluator, evaluator.scope_) {}
  InnerScope(Evaluator& evaluator, ScopePtr outer)
      : evaluator_(evaluator),
        before_(std::exchange(evaluator.scope_, std::make_shared<Scope>(std::move(outer)))) {}
  ~InnerScope() { evaluator_.scope_ = std::move(before_); }
  InnerScope(const InnerScope&) = delete;
  InnerScope& operator=(const InnerScope&) = delete;

 private:
  Evaluator& evaluator_;
  ScopePtr before_;
};

}  // namespace fathom::jinja
