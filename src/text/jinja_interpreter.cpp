#include "text/jinja_interpreter.h"

#include <algorithm>

#include "text/jinja_evaluator.h"

namespace fathom::jinja {
namespace {

enum class Flow { kNormal, kBreak, kContinue };

class Interpreter {
 public:
  Interpreter(Runtime& runtime, ScopePtr outermost)
      : runtime_(runtime), evaluator_(runtime, std::make_shared<Scope>(std::move(outermost))) {}

  Output run(const Block& statements) {
    Output output;
    main_ = &output;
    out_ = &output.text;
    execute(statements);
    return output;
  }

 private:
  Flow execute(const Block& statements) {
    for (const Statement& statement : statements) {
      runtime_.step();
      runtime_.line = statement.line;
      const Runtime::Nested nested(runtime_);
      const Flow flow = std::visit([&](const auto& s) { return execute(s); }, statement.node);
      if (flow != Flow::kNormal) return flow;
    }
    return Flow::kNormal;
  }

  void write(const std::string& text) {
    runtime_.charge(text.size());
    *out_ += text;
  }

  Flow execute(const TextStatement& s) {
    write(s.text);
    return Flow::kNormal;
  }

  Flow execute(const OutputStatement& s) {
    const Value value = evaluator_.evaluate(*s.value);
    write(to_text(value));
    return Flow::kNormal;
  }

  Flow execute(const IfStatement& s) {
    for (const auto& [condition, body] : s.branches) {
      if (truth(evaluator_.evaluate(*condition))) return execute(body);
    }
    return execute(s.otherwise);
  }

  /// The items for which the loop's condition holds.
  Values loop_items(const ForStatement& s) {
    Values items = items_of(runtime_, evaluator_.evaluate(*s.items));
    if (!s.condition) return items;
    const InnerScope inner(evaluator_);
    Values kept;
    for (Value& item : items) {
      assign(s.target, item);
      if (truth(evaluator_.evaluate(*s.condition))) kept.push_back(std::move(item));
    }
    return kept;
  }

  Flow execute(const ForStatement& s) {
    const Value sequence = runtime_.list(loop_items(s));
    const Values& items = sequence.sequence()->items;
    {
      const InnerScope inner(evaluator_);
      auto loop = std::make_shared<Loop>();
      loop->items = *sequence.get<std::shared_ptr<const Sequence>>();
      for (size_t i = 0; i < items.size(); ++i) {
        loop->index0 = i;
        evaluator_.scope().variables.clear();  // what an iteration sets does not reach the next one
        evaluator_.scope().set("loop", Value(std::shared_ptr<const Loop>(loop)));
        assign(s.target, items[i]);
        if (execute(s.body) == Flow::kBreak) break;
      }
    }
    return items.empty() ? execute(s.otherwise) : Flow::kNormal;
  }

  Flow execute(const SetStatement& s) {
    assign(s.target, evaluator_.evaluate(*s.value));
    return Flow::kNormal;
  }

  Flow execute(const CaptureStatement& s) {
    Value value = runtime_.text(captured(s.body));
    for (const ExpressionPtr& filter : s.filters) value = evaluator_.filter(*filter, value);
    if (s.target)
      assign(*s.target, value);
    else
      write(to_text(value));
    return Flow::kNormal;
  }

  /// What `body` writes, in a scope of its own.
  std::string captured(const Block& body) {
    const InnerScope inner(evaluator_);
    std::string text;
    std::string* const outside = std::exchange(out_, &text);
    execute(body);  // an error ends the whole run: nothing to put back
    out_ = outside;
    return text;
  }

  Flow execute(const MacroStatement& s) {
    const std::weak_ptr<Scope> home = evaluator_.scope_ptr();  // weak: the scope holds the macro
    evaluator_.scope().set(s.name,
                           runtime_.function(s.name, [this, &s, home](Runtime&, const Arguments& arguments) {
                             return call_macro(s, home.lock(), arguments);
                           }));
    return Flow::kNormal;
  }

  Value call_macro(const MacroStatement& s, const ScopePtr& home, const Arguments& arguments) {
    if (!home) runtime_.fail("the macro '" + s.name + "' is called outside of the block that defines it");
    if (arguments.positional.size() > s.parameters.size()) {
      runtime_.fail("the macro '" + s.name + "' takes at most " + std::to_string(s.parameters.size()) +
                    " arguments, not " + std::to_string(arguments.positional.size()));
    }
    const Runtime::Nested nested(runtime_);
    const InnerScope inner(evaluator_, home);
    bind(s, arguments);
    const uint32_t line = runtime_.line;
    Value text = runtime_.text(captured(s.body));
    runtime_.line = line;
    return text;
  }

  void bind(const MacroStatement& s, const Arguments& arguments) {
    for (const auto& [name, value] : arguments.named) {
      const auto parameter = std::find_if(s.parameters.begin(), s.parameters.end(),
                                          [&, &name = name](const auto& p) { return p.first == name; });
      if (parameter == s.parameters.end())
        runtime_.fail("the macro '" + s.name + "' has no parameter '" + name + "'");
      if (parameter - s.parameters.begin() < static_cast<ptrdiff_t>(arguments.positional.size()))
        runtime_.fail("the macro '" + s.name + "' is given '" + name + "' twice");
    }
    for (size_t i = 0; i < s.parameters.size(); ++i) {
      const auto& [name, otherwise] = s.parameters[i];
      const auto named = std::find_if(arguments.named.begin(), arguments.named.end(),
                                      [&, &name = name](const auto& n) { return n.first == name; });
      Value value;
      if (i < arguments.positional.size())
        value = arguments.positional[i];
      else if (named != arguments.named.end())
        value = named->second;
      else if (otherwise)
        value = evaluator_.evaluate(*otherwise);
      else
        value = runtime_.undefined("parameter '" + name + "' was not provided");
      evaluator_.scope().set(name, std::move(value));
    }
  }

  Flow execute(const WithStatement& s) {
    Values values;
    for (const auto& entry : s.values) values.push_back(evaluator_.evaluate(*entry.second));
    const InnerScope inner(evaluator_);
    for (size_t i = 0; i < values.size(); ++i) assign(s.values[i].first, values[i]);
    return execute(s.body);
  }

  Flow execute(const GenerationStatement& s) {
    const size_t begin = out_->size();
    write(captured(s.body));
    if (out_ == &main_->text) main_->generated.emplace_back(begin, out_->size());
    return Flow::kNormal;
  }

  Flow execute(const BreakStatement&) { return Flow::kBreak; }
  Flow execute(const ContinueStatement&) { return Flow::kContinue; }

  void assign(const Target& target, const Value& value) {
    if (target.is_tuple) {
      require_defined(runtime_, value);
      const Values items = items_of(runtime_, value);
      if (items.size() != target.items.size()) {
        runtime_.fail("cannot unpack " + std::to_string(items.size()) + " values into " +
                      std::to_string(target.items.size()) + " names");
      }
      for (size_t i = 0; i < items.size(); ++i) assign(target.items[i], items[i]);
    } else if (target.attribute.empty()) {
      evaluator_.scope().set(target.name, value);
    } else {
      const Value object = evaluator_.lookup(target.name);
      const auto* const space = object.get<std::shared_ptr<Namespace>>();
      if (!space) {
        runtime_.fail("cannot assign to '" + target.name + "." + target.attribute + "': '" + target.name +
                      "' is not a namespace()");
      }
      set_entry((*space)->attributes, target.attribute, value);
    }
  }

  Runtime& runtime_;
  Evaluator evaluator_;
  Output* main_ = nullptr;
  std::string* out_ = nullptr;
};

}  // namespace

Output run(Runtime& runtime, const Block& statements, std::vector<std::pair<std::string, Value>> variables) {
  auto outermost = std::make_shared<Scope>(nullptr);
  outermost->variables = global_functions(runtime);
  for (auto& [name, value] : variables) outermost->set(name, std::move(value));
  return Interpreter(runtime, std::move(outermost)).run(statements);
}

}  // namespace fathom::jinja
