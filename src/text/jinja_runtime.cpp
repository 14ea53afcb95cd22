#include "text/jinja_runtime.h"

#include <algorithm>

#include "core/error.h"
#include "text/jinja_text.h"

namespace fathom::jinja {
namespace {

constexpr size_t kEntryBytes = 64;  // of a value in a list, about

std::string article(const std::string& type) {
  return (std::string("aeiou").find(type[0]) != std::string::npos ? "an " : "a ") + type;
}

}  // namespace

void fail_at(uint32_t line, const std::string& what) {
  fathom::fail(ErrorFields{.what = what, .line = line});
}

Runtime::~Runtime() {
  for (const auto& space : namespaces_) space->attributes.clear();
}

void Runtime::step(uint64_t count) {
  steps_ += count;
  if (steps_ > limits_.steps)
    fail("the chat template takes more than " + std::to_string(limits_.steps) +
         " steps: is it an endless loop?");
}

void Runtime::charge(uint64_t bytes) {
  if (bytes > limits_.bytes - bytes_)
    fail("the chat template makes more than " + std::to_string(limits_.bytes >> 20) +
         " MiB of values and text");
  bytes_ += bytes;
}

void Runtime::check_depth(size_t depth) const {
  if (depth > kMaxValueDepth)
    fail("lists or dicts nested more than " + std::to_string(kMaxValueDepth) + " deep");
}

Value Runtime::text(std::string text) {
  charge(text.size());
  return Value(std::make_shared<const std::string>(std::move(text)));
}

Value Runtime::list(Values items, SequenceType type) {
  charge(items.size() * kEntryBytes);
  auto sequence = std::make_shared<Sequence>();
  for (const Value& item : items) sequence->depth = std::max(sequence->depth, item.depth() + 1);
  check_depth(sequence->depth);
  sequence->type = type;
  sequence->items = std::move(items);
  return Value(std::shared_ptr<const Sequence>(std::move(sequence)));
}

Value Runtime::texts(std::vector<std::string> items) {
  Values values;
  values.reserve(items.size());
  for (std::string& item : items) values.push_back(text(std::move(item)));
  return list(std::move(values));
}

Value Runtime::dict(std::vector<std::pair<Value, Value>> entries) {
  charge(2 * entries.size() * kEntryBytes);
  auto dict = std::make_shared<Dict>();
  for (const auto& [key, value] : entries)
    dict->depth = std::max({dict->depth, key.depth() + 1, value.depth() + 1});
  check_depth(dict->depth);
  dict->entries = std::move(entries);
  return Value(std::shared_ptr<const Dict>(std::move(dict)));
}

Value Runtime::make_namespace() {
  charge(kEntryBytes);
  namespaces_.push_back(std::make_shared<Namespace>());
  return Value(namespaces_.back());
}

Value Runtime::undefined(const std::string& reason) const {
  return Value(Undefined{std::make_shared<const std::string>(reason)});
}

Value Runtime::function(std::string name, std::function<Value(Runtime&, const Arguments&)> call,
                        size_t depth) const {
  check_depth(depth);
  return Value(std::make_shared<const Function>(Function{std::move(name), std::move(call), depth}));
}

Runtime::Nested::Nested(Runtime& runtime) : runtime_(runtime) {
  if (runtime.nesting_ >= runtime.limits_.nesting)
    runtime.fail("the chat template nests too deep: does a macro call itself without end?");
  ++runtime.nesting_;
}

Parameters::Parameters(Runtime& runtime, const std::string& callee, const Arguments& arguments,
                       std::initializer_list<const char*> names)
    : runtime_(runtime), callee_(callee), names_(names), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names_.size()) {
    runtime.fail("'" + callee + "' takes at most " + std::to_string(names_.size()) + " arguments, not " +
                 std::to_string(arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto at = std::find(names_.begin(), names_.end(), name);
    if (at == names_.end()) runtime.fail("'" + callee + "' has no argument '" + name + "'");
    const Value*& slot = values_[static_cast<size_t>(at - names_.begin())];
    if (slot) runtime.fail("'" + callee + "' is given '" + name + "' twice");
    slot = &value;
  }
}

const Value& Parameters::required(size_t i) const {
  if (!values_[i]) runtime_.fail("'" + callee_ + "' needs its argument '" + names_[i] + "'");
  return *values_[i];
}

int64_t Parameters::integer(size_t i, int64_t otherwise) const {
  if (!values_[i]) return otherwise;
  const auto value = values_[i]->integer();
  if (!value) {
    runtime_.fail("the argument '" + std::string(names_[i]) + "' of '" + callee_ + "' must be an int, not " +
                  article(type_name(*values_[i])));
  }
  return *value;
}

bool Parameters::boolean(size_t i, bool otherwise) const {
  return values_[i] ? truth(*values_[i]) : otherwise;
}

std::string Parameters::text(size_t i, const std::string& otherwise) const {
  if (!values_[i]) return otherwise;
  const std::string* const value = values_[i]->string();
  if (!value) {
    require_defined(runtime_, *values_[i]);
    runtime_.fail("the argument '" + std::string(names_[i]) + "' of '" + callee_ + "' must be a str, not " +
                  article(type_name(*values_[i])));
  }
  return *value;
}

void require_defined(const Runtime& runtime, const Value& value) {
  if (const Undefined* const undefined = value.get<Undefined>())
    runtime.fail(undefined->reason ? *undefined->reason : "an undefined value is used");
}

std::string soft_text(Runtime& runtime, const Value& value) {
  std::string text = to_text(value);
  runtime.charge(text.size());
  return text;
}

Values items_of(Runtime& runtime, const Value& value) {
  Values items;
  if (value.is_undefined()) return items;
  if (const Sequence* const sequence = value.sequence()) {
    const size_t begin = sequence->type == SequenceType::kIterator ? sequence->taken : 0;
    sequence->taken = sequence->items.size();
    items.assign(sequence->items.begin() + static_cast<ptrdiff_t>(begin), sequence->items.end());
  } else if (const Dict* const dict = value.dict()) {
    for (const auto& entry : dict->entries) items.push_back(entry.first);
  } else if (const std::string* const text = value.string()) {
    for (const std::string_view character : characters(*text))
      items.push_back(runtime.text(std::string(character)));
  } else {
    runtime.fail("cannot go through " + article(type_name(value)) + " item by item");
  }
  runtime.step(items.size());
  runtime.charge(items.size() * sizeof(Value));
  return items;
}

}  // namespace fathom::jinja
