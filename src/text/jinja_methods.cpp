// Methods of strings, dicts and lists: Python's, those that chat templates call.

#include <algorithm>
#include <map>

#include "text/jinja_runtime.h"
#include "text/jinja_text.h"
#include "text/unicode.h"

namespace fathom::jinja {
namespace {

using TextMethod = Value (*)(Runtime&, const std::string& self, const std::string& name, const Arguments&);
using DictMethod = Value (*)(Runtime&, const Dict& self, const std::string& name, const Arguments&);
using ListMethod = Value (*)(Runtime&, const Sequence& self, const std::string& name, const Arguments&);

std::optional<std::string> optional_text(const Parameters& parameters, size_t i) {
  if (!parameters.at(i) || parameters.at(i)->is_none()) return std::nullopt;
  return parameters.text(i, {});
}

template <bool kLeft, bool kRight>
Value strip_method(Runtime& r, const std::string& self, const std::string& name, const Arguments& arguments) {
  const Parameters p(r, name, arguments, {"chars"});
  return r.text(std::string(strip(self, optional_text(p, 0), kLeft, kRight)));
}

template <std::string (*kMap)(std::string_view)>
Value map_method(Runtime& r, const std::string& self, const std::string& name, const Arguments& arguments) {
  const Parameters p(r, name, arguments, {});
  return r.text(kMap(self));
}

template <bool (*kTest)(uint32_t)>
Value all_method(Runtime& r, const std::string& self, const std::string& name, const Arguments& arguments) {
  const Parameters p(r, name, arguments, {});
  return Value(all_characters(self, kTest));
}

bool is_alnum(uint32_t c) { return is_alpha(c) || is_digit(c); }

/// str.isupper, str.islower: some letter is, and none is of the other case.
template <bool (*kWanted)(uint32_t), bool (*kOther)(uint32_t)>
Value case_method(Runtime& r, const std::string& self, const std::string& name, const Arguments& arguments) {
  const Parameters p(r, name, arguments, {});
  return Value(!all_characters(self + " ", [](uint32_t c) { return !kWanted(c); }) &&
               all_characters(self, [](uint32_t c) { return !kOther(c); }));
}

template <bool kFromRight>
Value split_method(Runtime& r, const std::string& self, const std::string& name, const Arguments& arguments) {
  const Parameters p(r, name, arguments, {"sep", "maxsplit"});
  const auto separator = optional_text(p, 0);
  if (separator && separator->empty()) r.fail("'" + name + "' at an empty separator");
  r.step(self.size() / 16);
  return r.texts(split(self, separator, p.integer(1, -1), kFromRight));
}

Value split_lines_method(Runtime& r, const std::string& self, const std::string& name,
                         const Arguments& arguments) {
  const Parameters p(r, name, arguments, {});
  return r.texts(split_lines(self));
}

template <bool kStart>
Value edge_method(Runtime& r, const std::string& self, const std::string& name, const Arguments& arguments) {
  const Parameters p(r, name, arguments, {"affix"});
  const auto matches = [&](const Value& affix) {
    const std::string* const text = affix.string();
    require_defined(r, affix);
    if (!text) r.fail("'" + name + "' wants a str, not " + type_name(affix));
    return kStart ? self.starts_with(*text) : self.ends_with(*text);
  };
  const Value& affix = p.required(0);
  if (const Sequence* const any = affix.sequence(); any && any->type == SequenceType::kTuple)
    return Value(std::any_of(any->items.begin(), any->items.end(), matches));
  return Value(matches(affix));
}

template <bool kStart>
Value remove_method(Runtime& r, const std::string& self, const std::string& name,
                    const Arguments& arguments) {
  const Parameters p(r, name, arguments, {"affix"});
  p.required(0);
  const std::string affix = p.text(0, {});
  if (kStart ? !self.starts_with(affix) : !self.ends_with(affix)) return r.text(self);
  return r.text(kStart ? self.substr(affix.size()) : self.substr(0, self.size() - affix.size()));
}

Value replace_method(Runtime& r, const std::string& self, const std::string& name,
                     const Arguments& arguments) {
  const Parameters p(r, name, arguments, {"old", "new", "count"});
  p.required(0);
  p.required(1);
  const std::string from = p.text(0, {}), to = p.text(1, {});
  r.charge(self.size() + (from.empty() ? self.size() + 1 : self.size() / from.size()) * to.size());
  return r.text(replace(self, from, to, p.integer(2, -1)));
}

template <bool kFromRight>
Value find_method(Runtime& r, const std::string& self, const std::string& name, const Arguments& arguments) {
  const Parameters p(r, name, arguments, {"sub"});
  p.required(0);
  const size_t at = kFromRight ? self.rfind(p.text(0, {})) : self.find(p.text(0, {}));
  if (at == std::string::npos) return Value(int64_t{-1});
  return Value(static_cast<int64_t>(text_length(std::string_view(self).substr(0, at))));
}

Value count_method(Runtime& r, const std::string& self, const std::string& name, const Arguments& arguments) {
  const Parameters p(r, name, arguments, {"sub"});
  p.required(0);
  const std::string part = p.text(0, {});
  if (part.empty()) return Value(static_cast<int64_t>(text_length(self)) + 1);
  int64_t count = 0;
  for (size_t at = 0; (at = self.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return Value(count);
}

Value join_method(Runtime& r, const std::string& self, const std::string& name, const Arguments& arguments) {
  const Parameters p(r, name, arguments, {"iterable"});
  std::string out;
  bool first = true;
  for (const Value& item : items_of(r, p.required(0))) {
    require_defined(r, item);
    if (!item.string()) r.fail("'join' wants a list of str, not of " + type_name(item));
    r.charge(self.size() + item.string()->size());
    out += (std::exchange(first, false) ? "" : self) + *item.string();
  }
  return r.text(std::move(out));
}

const std::map<std::string, TextMethod, std::less<>> kTextMethods = {
    {"strip", strip_method<true, true>},
    {"lstrip", strip_method<true, false>},
    {"rstrip", strip_method<false, true>},
    {"upper", map_method<upper>},
    {"lower", map_method<lower>},
    {"capitalize", map_method<capitalize>},
    {"title", map_method<title_method>},
    {"isspace", all_method<is_python_space>},
    {"isalpha", all_method<is_alpha>},
    {"isdigit", all_method<is_digit>},
    {"isalnum", all_method<is_alnum>},
    {"isupper", case_method<is_upper, is_lower>},
    {"islower", case_method<is_lower, is_upper>},
    {"split", split_method<false>},
    {"rsplit", split_method<true>},
    {"splitlines", split_lines_method},
    {"startswith", edge_method<true>},
    {"endswith", edge_method<false>},
    {"removeprefix", remove_method<true>},
    {"removesuffix", remove_method<false>},
    {"replace", replace_method},
    {"find", find_method<false>},
    {"rfind", find_method<true>},
    {"count", count_method},
    {"join", join_method},
};

enum class Part { kKeys, kValues, kItems };
template <Part kPart>
Value view_method(Runtime& r, const Dict& self, const std::string& name, const Arguments& arguments) {
  const Parameters p(r, name, arguments, {});
  Values parts;
  for (const auto& [key, value] : self.entries)
    parts.push_back(kPart == Part::kKeys     ? key
                    : kPart == Part::kValues ? value
                                             : r.list({key, value}, SequenceType::kTuple));
  return r.list(std::move(parts), SequenceType::kView);
}

Value get_method(Runtime& r, const Dict& self, const std::string& name, const Arguments& arguments) {
  const Parameters p(r, name, arguments, {"key", "default"});
  r.step(self.entries.size() / 16);
  if (const Value* const value = self.find(p.required(0))) return *value;
  return p.at(1) ? *p.at(1) : Value(None{});
}

const std::map<std::string, DictMethod, std::less<>> kDictMethods = {
    {"keys", view_method<Part::kKeys>},
    {"values", view_method<Part::kValues>},
    {"items", view_method<Part::kItems>},
    {"get", get_method},
};

Value list_count_method(Runtime& r, const Sequence& self, const std::string& name,
                        const Arguments& arguments) {
  const Parameters p(r, name, arguments, {"value"});
  const Value& wanted = p.required(0);
  return Value(static_cast<int64_t>(std::count_if(self.items.begin(), self.items.end(),
                                                  [&](const Value& item) { return equal(item, wanted); })));
}

Value index_method(Runtime& r, const Sequence& self, const std::string& name, const Arguments& arguments) {
  const Parameters p(r, name, arguments, {"value"});
  const Value& wanted = p.required(0);
  const auto at = std::find_if(self.items.begin(), self.items.end(),
                               [&](const Value& item) { return equal(item, wanted); });
  if (at == self.items.end()) r.fail(to_repr(wanted) + " is not in the list");
  return Value(static_cast<int64_t>(at - self.items.begin()));
}

const std::map<std::string, ListMethod, std::less<>> kListMethods = {{"count", list_count_method},
                                                                     {"index", index_method}};

/// Methods that the sandbox lets no template call, since they change what others see.
bool changes_its_object(const std::string& type, const std::string& name) {
  static const std::map<std::string, std::vector<std::string>> forbidden = {
      {"list", {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"}},
      {"dict", {"clear", "pop", "popitem", "setdefault", "update"}}};
  const auto of_type = forbidden.find(type);
  return of_type != forbidden.end() &&
         std::find(of_type->second.begin(), of_type->second.end(), name) != of_type->second.end();
}

template <class Self, class Method>
Value bound(Runtime& runtime, const std::string& name, Self self, Method method, size_t depth) {
  return runtime.function(
      name,
      [name, self = std::move(self), method](Runtime& r, const Arguments& arguments) {
        r.step();
        return method(r, *self, name, arguments);
      },
      depth);
}

}  // namespace

Value method_of(Runtime& runtime, const Value& value, const std::string& name) {
  const size_t depth = value.depth() + 1;
  if (const auto* const text = value.get<Value::String>()) {
    if (const auto at = kTextMethods.find(name); at != kTextMethods.end())
      return bound(runtime, name, *text, at->second, depth);
    for (const char* other :
         {"format", "encode", "center", "ljust", "rjust", "zfill", "partition", "rpartition", "casefold",
          "swapcase", "index", "expandtabs", "translate", "format_map"}) {
      if (name == other) runtime.fail("the method '" + name + "' of a str is not supported");
    }
  } else if (const auto* const dict = value.get<std::shared_ptr<const Dict>>()) {
    if (const auto at = kDictMethods.find(name); at != kDictMethods.end())
      return bound(runtime, name, *dict, at->second, depth);
  } else if (const auto* const list = value.get<std::shared_ptr<const Sequence>>()) {
    const bool has_methods = (*list)->type == SequenceType::kList || (*list)->type == SequenceType::kTuple;
    if (const auto at = kListMethods.find(name); has_methods && at != kListMethods.end())
      return bound(runtime, name, *list, at->second, depth);
  }
  if (changes_its_object(type_name(value), name)) {
    return runtime.function(name, [type = type_name(value), name](Runtime& r, const Arguments&) -> Value {
      r.fail("'" + name + "' would change a " + type + ", which templates may not do");
    });
  }
  return Value();
}

}  // namespace fathom::jinja
