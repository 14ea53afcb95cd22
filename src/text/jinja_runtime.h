#pragma once
// What a running template may use, and the making of its values. A template is untrusted input: its steps,
// its memory and its nesting are bounded.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "text/jinja_value.h"

namespace fathom::jinja {

struct Limits {
  uint64_t steps = 20'000'000;           ///< expressions and statements, and items that filters look at
  uint64_t bytes = uint64_t{256} << 20;  ///< of all values and of the output, from start to end
  size_t nesting = 1000;                 ///< of expressions, statements and macro calls in one another
};

constexpr size_t kMaxValueDepth = 100;  // of lists in lists

/// Throws Error (without a path) for a line of the template.
[[noreturn]] void fail_at(uint32_t line, const std::string& what);

class Runtime {
 public:
  /// `now`: seconds since 1970, for strftime_now.
  Runtime(const Limits& limits, int64_t now) : limits_(limits), now_(now) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  ~Runtime();

  uint32_t line = 1;  ///< of the expression or statement that runs
  int64_t now() const { return now_; }

  /// Counts steps; every loop over items counts them. Errors: Error beyond the limit.
  void step(uint64_t count = 1);
  /// Counts bytes, before they are made. Errors: Error beyond the limit.
  void charge(uint64_t bytes);
  [[noreturn]] void fail(const std::string& what) const { fail_at(line, what); }

  Value text(std::string text);
  Value list(Values items, SequenceType type = SequenceType::kList);
  Value texts(std::vector<std::string> items);  ///< a list
  Value dict(std::vector<std::pair<Value, Value>> entries);
  Value make_namespace();
  Value undefined(const std::string& reason) const;
  Value function(std::string name, std::function<Value(Runtime&, const Arguments&)> call,
                 size_t depth = 0) const;

  /// One level deeper, as long as the object lives. Errors: Error beyond the limit.
  class Nested {
   public:
    explicit Nested(Runtime& runtime);
    ~Nested() { --runtime_.nesting_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    Runtime& runtime_;
  };

 private:
  void check_depth(size_t depth) const;
  Limits limits_;
  int64_t now_;
  uint64_t steps_ = 0, bytes_ = 0;
  size_t nesting_ = 0;
  std::vector<std::shared_ptr<Namespace>> namespaces_;  // emptied at the end: they may hold one another
};

/// The parameters of a filter, test, method or function, by position and by name.
class Parameters {
 public:
  /// Errors: Error for too many arguments or a name that is none of `names`.
  Parameters(Runtime& runtime, const std::string& callee, const Arguments& arguments,
             std::initializer_list<const char*> names);
  /// The argument for names[i], or null where it was not given.
  const Value* at(size_t i) const { return values_[i]; }
  /// Errors: Error where it was not given.
  const Value& required(size_t i) const;
  /// Errors: Error where it is of another type.
  int64_t integer(size_t i, int64_t otherwise) const;
  bool boolean(size_t i, bool otherwise) const;
  std::string text(size_t i, const std::string& otherwise) const;

 private:
  Runtime& runtime_;
  const std::string& callee_;
  std::vector<const char*> names_;
  std::vector<const Value*> values_;
};

/// Fails with its reason where `value` is undefined.
void require_defined(const Runtime& runtime, const Value& value);
/// The text that filters take a value for: a string itself, else its str().
std::string soft_text(Runtime& runtime, const Value& value);
/// The items that iterating gives: of a sequence, a dict's keys, a string's characters, nothing of what is
/// undefined. An iterator gives each item once. Errors: Error for other types.
Values items_of(Runtime& runtime, const Value& value);

// jinja_access.cpp
/// value.name: a method, else an entry. Errors: Error where `value` is undefined.
Value get_attribute(Runtime& runtime, const Value& value, const std::string& name);
/// value[key]: an entry, else a method. Errors: as get_attribute.
Value get_item(Runtime& runtime, const Value& value, const Value& key);
/// value[start:stop:step]; a null is left out. Errors: Error for other types.
Value get_slice(Runtime& runtime, const Value& value, const Value* start, const Value* stop,
                const Value* step);
Value call(Runtime& runtime, const Value& callee, const Arguments& arguments);

// jinja_methods.cpp
/// The method of a string, dict or list; undefined where it has none of this name. Errors: Error for those
/// that change their object, which the sandbox forbids.
Value method_of(Runtime& runtime, const Value& value, const std::string& name);

// jinja_operators.cpp
enum class BinaryOperator { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
enum class Comparison { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };
Value apply(Runtime& runtime, BinaryOperator op, const Value& a, const Value& b);
bool holds(Runtime& runtime, Comparison comparison, const Value& a, const Value& b);
Value negate(Runtime& runtime, const Value& value);
/// "%s of %d" % values.
std::string format_text(Runtime& runtime, const std::string& format, const Value& values);

// jinja_filters.cpp, jinja_tests.cpp
using FilterFunction = Value (*)(Runtime&, const Value& input, const Arguments&);
using TestFunction = bool (*)(Runtime&, const Value& input, const Arguments&);
/// Null where there is none of this name.
FilterFunction find_filter(const std::string& name);
TestFunction find_test(const std::string& name);
std::vector<std::string> filter_names();
std::vector<std::string> test_names();

// jinja_json.cpp
/// json.dumps(value, ensure_ascii=False, ...) as `transformers` gives it to templates.
Value to_json(Runtime& runtime, const Value& value, const Arguments& arguments);

// jinja_globals.cpp
/// range, dict, namespace, raise_exception, strftime_now.
std::vector<std::pair<std::string, Value>> global_functions(Runtime& runtime);

}  // namespace fathom::jinja
