#include "text/jinja_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja_text.h"

namespace fathom::jinja {
namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

bool is_sequence_pair(const Sequence& a, const Sequence& b) {
  return a.type == b.type && a.type != SequenceType::kIterator && a.type != SequenceType::kView;
}

int sign(int64_t difference) { return difference < 0 ? -1 : difference > 0; }

/// Numbers of unlike types too: Python compares 1 and 1.0 by value.
std::optional<int> compare_numbers(const Value& a, const Value& b) {
  const auto i = a.integer(), j = b.integer();
  if (i && j) return *i < *j ? -1 : *i > *j;
  const auto x = a.number(), y = b.number();
  if (!x || !y || std::isnan(*x) || std::isnan(*y)) return std::nullopt;
  return *x < *y ? -1 : *x > *y;
}

std::string joined(const Values& items, const char* open, const char* close) {
  std::string text = open;
  for (size_t i = 0; i < items.size(); ++i) text += (i ? ", " : "") + to_repr(items[i]);
  return text + close;
}

std::string sequence_repr(const Sequence& sequence) {
  switch (sequence.type) {
    case SequenceType::kTuple:
      return joined(sequence.items, "(", sequence.items.size() == 1 ? ",)" : ")");
    case SequenceType::kIterator:
      return "<generator>";
    default:
      return joined(sequence.items, "[", "]");
  }
}

std::string dict_repr(const Dict& dict) {
  std::string text = "{";
  for (const auto& [key, value] : dict.entries) {
    if (text.size() > 1) text += ", ";
    text += to_repr(key) + ": " + to_repr(value);
  }
  return text + "}";
}

}  // namespace

const std::string* Value::string() const {
  const String* const text = get<String>();
  return text ? text->get() : nullptr;
}

const Sequence* Value::sequence() const {
  const auto* const sequence = get<std::shared_ptr<const Sequence>>();
  return sequence ? sequence->get() : nullptr;
}

const Dict* Value::dict() const {
  const auto* const dict = get<std::shared_ptr<const Dict>>();
  return dict ? dict->get() : nullptr;
}

std::optional<int64_t> Value::integer() const {
  if (const bool* const b = get<bool>()) return *b;
  if (const int64_t* const i = get<int64_t>()) return *i;
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const double* const x = get<double>()) return *x;
  const auto i = integer();
  return i ? std::optional<double>(static_cast<double>(*i)) : std::nullopt;
}

size_t Value::depth() const {
  if (const Sequence* const s = sequence()) return s->depth;
  if (const Dict* const d = dict()) return d->depth;
  if (const auto* const f = get<std::shared_ptr<const Function>>()) return (*f)->depth;
  if (const auto* const loop = get<std::shared_ptr<const Loop>>()) return (*loop)->items->depth + 1;
  return 0;
}

const Value* Dict::find(const Value& key) const {
  for (const auto& [k, value] : entries) {
    if (equal(k, key)) return &value;
  }
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [k, value] : entries) {
    if (k.string() && *k.string() == key) return &value;
  }
  return nullptr;
}

bool truth(const Value& value) {
  return std::visit(
      Overloaded{[](const Undefined&) { return false; }, [](const None&) { return false; },
                 [](bool b) { return b; }, [](int64_t i) { return i != 0; }, [](double x) { return x != 0; },
                 [](const Value::String& text) { return !text->empty(); },
                 [](const std::shared_ptr<const Sequence>& s) {
                   return s->type == SequenceType::kIterator || !s->items.empty();
                 },
                 [](const std::shared_ptr<const Dict>& dict) { return !dict->entries.empty(); },
                 [](const std::shared_ptr<Namespace>&) { return true; },
                 [](const std::shared_ptr<const Function>&) { return true; },
                 [](const std::shared_ptr<const Loop>&) { return true; }},
      value.data());
}

bool equal(const Value& a, const Value& b) {
  if (a.number() && b.number()) return compare_numbers(a, b) == 0;
  if (a.data().index() != b.data().index()) return false;
  if (a.is_undefined() || a.is_none()) return true;
  if (a.string()) return *a.string() == *b.string();
  if (const Sequence* const s = a.sequence(), * const t = b.sequence(); s) {
    return s == t || (is_sequence_pair(*s, *t) &&
                      std::equal(s->items.begin(), s->items.end(), t->items.begin(), t->items.end(), equal));
  }
  if (const Dict* const d = a.dict(), * const e = b.dict(); d) {
    if (d->entries.size() != e->entries.size()) return false;
    return std::all_of(d->entries.begin(), d->entries.end(), [&](const auto& entry) {
      const Value* const other = e->find(entry.first);
      return other && equal(entry.second, *other);
    });
  }
  return std::visit(
      [&]<class T>(const T& x) {
        if constexpr (requires { x.get(); })
          return x == std::get<T>(b.data());
        else
          return false;  // numbers, undefined and none were settled above
      },
      a.data());
}

std::optional<int> compare(const Value& a, const Value& b) {
  if (a.number() && b.number()) return compare_numbers(a, b);
  if (a.string() && b.string()) return sign(a.string()->compare(*b.string()));  // UTF-8 keeps the order
  const Sequence *const s = a.sequence(), *const t = b.sequence();
  if (!s || !t || !is_sequence_pair(*s, *t) || s->type == SequenceType::kRange) return std::nullopt;
  for (size_t i = 0; i < std::min(s->items.size(), t->items.size()); ++i) {
    if (!equal(s->items[i], t->items[i])) return compare(s->items[i], t->items[i]);
  }
  return sign(static_cast<int64_t>(s->items.size()) - static_cast<int64_t>(t->items.size()));
}

std::string type_name(const Value& value) {
  if (const Sequence* const s = value.sequence()) {
    static const char* const names[] = {"list", "tuple", "range", "dict view", "iterator"};
    return names[static_cast<size_t>(s->type)];
  }
  static const char* const names[] = {"undefined", "none", "bool",      "int",      "float", "str",
                                      "",          "dict", "namespace", "function", "loop"};
  return names[value.data().index()];
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::scientific).ptr;
  const std::string shortest(digits, end);
  const int exponent = std::stoi(shortest.substr(shortest.find('e') + 1));
  if (exponent < -4 || exponent >= 16) return shortest;  // as Python's repr chooses
  char fixed[64];
  std::string text(fixed, std::to_chars(fixed, fixed + sizeof fixed, value, std::chars_format::fixed).ptr);
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

std::string to_text(const Value& value) {
  if (value.is_undefined()) return {};
  if (const std::string* const text = value.string()) return *text;
  return to_repr(value);
}

std::string to_repr(const Value& value) {
  return std::visit(
      Overloaded{[](const Undefined&) { return std::string("Undefined"); },
                 [](const None&) { return std::string("None"); },
                 [](bool b) { return std::string(b ? "True" : "False"); },
                 [](int64_t i) { return std::to_string(i); }, [](double x) { return float_text(x); },
                 [](const Value::String& text) { return quoted(*text); },
                 [](const std::shared_ptr<const Sequence>& s) { return sequence_repr(*s); },
                 [](const std::shared_ptr<const Dict>& dict) { return dict_repr(*dict); },
                 [](const std::shared_ptr<Namespace>&) { return std::string("<Namespace>"); },
                 [](const std::shared_ptr<const Function>& f) { return "<function " + f->name + ">"; },
                 [](const std::shared_ptr<const Loop>&) { return std::string("<LoopContext>"); }},
      value.data());
}

}  // namespace fathom::jinja
