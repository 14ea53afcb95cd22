#pragma once
// Values of a chat template while it runs: Python's, as far as templates see them.
//
// All are immutable (as in the sandbox that `transformers` uses) but namespaces and the position of an
// iterator, so that copies share. A value never outlives the Runtime that made it.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fathom::jinja {

class Value;
class Runtime;
using Values = std::vector<Value>;

/// What a name stands for that nothing was assigned to: prints as nothing, is false, and most other uses of
/// it fail with `reason`.
struct Undefined {
  std::shared_ptr<const std::string> reason;
};
struct None {};

enum class SequenceType {
  kList,
  kTuple,
  kRange,
  kView,      ///< of a dict: it has a length, but no index
  kIterator,  ///< read once; true, even if empty
};
struct Sequence;
struct Dict;
struct Namespace;
struct Function;
struct Loop;

class Value {
 public:
  using String = std::shared_ptr<const std::string>;
  using Data = std::variant<Undefined, None, bool, int64_t, double, String, std::shared_ptr<const Sequence>,
                            std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
                            std::shared_ptr<const Function>, std::shared_ptr<const Loop>>;
  Value() = default;
  Value(Data data) : data_(std::move(data)) {}

  template <class T>
  const T* get() const {
    return std::get_if<T>(&data_);
  }
  bool is_undefined() const { return get<Undefined>() != nullptr; }
  bool is_none() const { return get<None>() != nullptr; }
  bool is_string() const { return get<String>() != nullptr; }
  const std::string* string() const;  ///< or null
  const Sequence* sequence() const;   ///< or null
  const Dict* dict() const;           ///< or null
  /// The number, where it is an int or a bool.
  std::optional<int64_t> integer() const;
  /// The number, where it is an int, a bool or a float.
  std::optional<double> number() const;

  /// How deep lists and dicts nest in it; 0 for others.
  size_t depth() const;
  const Data& data() const { return data_; }

 private:
  Data data_;
};

struct Sequence {
  SequenceType type = SequenceType::kList;
  Values items;
  size_t depth = 1;
  mutable size_t taken = 0;  ///< items that an iterator has given
};

struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  size_t depth = 1;
  /// The value of a key, or null.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

struct Arguments {
  Values positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct Function {
  std::string name;
  std::function<Value(Runtime&, const Arguments&)> call;
  size_t depth = 0;  ///< of the value whose method it is
};

/// A running `for`: what `loop` is.
struct Loop {
  std::shared_ptr<const Sequence> items;
  size_t index0 = 0;
};

/// Python's truth.
bool truth(const Value& value);
/// Python's ==.
bool equal(const Value& a, const Value& b);
/// Python's < of two values: negative, 0 or positive, or nothing where Python has no order for them.
std::optional<int> compare(const Value& a, const Value& b);
/// "str", "dict", ...: for messages.
std::string type_name(const Value& value);

/// Python's str() and repr(). Undefined is "".
std::string to_text(const Value& value);
std::string to_repr(const Value& value);
std::string float_text(double value);

}  // namespace fathom::jinja
