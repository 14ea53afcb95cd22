#include "text/jinja_list_filters.h"

#include <algorithm>

#include "core/error.h"
#include "text/jinja_text.h"

namespace fathom::jinja {
namespace {

Value iterator(Runtime& r, Values items) { return r.list(std::move(items), SequenceType::kIterator); }

/// item.a.0.b for "a.0.b"; the item itself where there is no attribute.
Value follow(Runtime& r, const Value& item, const Value* attribute) {
  if (!attribute || attribute->is_none()) return item;
  const std::string* const path = attribute->string();
  if (!path) return get_item(r, item, *attribute);
  Value at = item;
  for (const std::string& part : split(*path, ".", -1, false)) {
    const bool is_index = all_characters(part, is_digit) && part.size() < 10;
    at = get_item(r, at, is_index ? Value(static_cast<int64_t>(std::stoll(part))) : r.text(part));
  }
  return at;
}

/// What items are compared by.
Value sort_key(Runtime& r, const Value& item, const Value* attribute, bool case_sensitive) {
  const Value key = follow(r, item, attribute);
  return !case_sensitive && key.string() ? r.text(lower(*key.string())) : key;
}

bool less(Runtime& r, const Value& a, const Value& b) { return holds(r, Comparison::kLess, a, b); }

/// Items with their keys, in order; equal ones stay in theirs.
Values sorted(Runtime& r, std::vector<std::pair<Value, Value>> keyed, bool reverse) {
  r.step(keyed.size() * 16);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(r, b.first, a.first) : less(r, a.first, b.first);
  });
  Values items;
  for (auto& entry : keyed) items.push_back(std::move(entry.second));
  return items;
}

Value sort(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "sort";
  const Parameters p(r, name, arguments, {"reverse", "case_sensitive", "attribute"});
  std::vector<Value> attributes;
  if (p.at(2) && p.at(2)->string()) {
    for (std::string& part : split(*p.at(2)->string(), ",", -1, false))
      attributes.push_back(r.text(std::move(part)));
  } else if (p.at(2)) {
    attributes.push_back(*p.at(2));
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : items_of(r, input)) {
    Values key;
    for (const Value& attribute : attributes)
      key.push_back(sort_key(r, item, &attribute, p.boolean(1, false)));
    if (attributes.empty()) key.push_back(sort_key(r, item, nullptr, p.boolean(1, false)));
    keyed.emplace_back(r.list(std::move(key)), std::move(item));
  }
  return r.list(sorted(r, std::move(keyed), p.boolean(0, false)));
}

Value dictsort(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "dictsort";
  const Parameters p(r, name, arguments, {"case_sensitive", "by", "reverse"});
  require_defined(r, input);
  const Dict* const dict = input.dict();
  if (!dict) r.fail("'dictsort' wants a dict, not " + type_name(input));
  const std::string by = p.text(1, "key");
  if (by != "key" && by != "value") r.fail("'dictsort' sorts by 'key' or 'value'");
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : dict->entries) {
    keyed.emplace_back(sort_key(r, by == "key" ? key : value, nullptr, p.boolean(0, false)),
                       r.list({key, value}, SequenceType::kTuple));
  }
  return r.list(sorted(r, std::move(keyed), p.boolean(2, false)));
}

template <bool kLargest>
Value extreme(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = kLargest ? "max" : "min";
  const Parameters p(r, name, arguments, {"case_sensitive", "attribute"});
  const Values items = items_of(r, input);
  if (items.empty()) return r.undefined("'" + name + "' of nothing");
  Value best = items[0], best_key = sort_key(r, items[0], p.at(1), p.boolean(0, false));
  for (size_t i = 1; i < items.size(); ++i) {
    Value key = sort_key(r, items[i], p.at(1), p.boolean(0, false));
    if (!(kLargest ? less(r, best_key, key) : less(r, key, best_key))) continue;
    best = items[i];
    best_key = std::move(key);
  }
  return best;
}

Value unique(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "unique";
  const Parameters p(r, name, arguments, {"case_sensitive", "attribute"});
  Values seen, kept;
  for (Value& item : items_of(r, input)) {
    Value key = sort_key(r, item, p.at(1), p.boolean(0, false));
    r.step(seen.size());
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& other) { return equal(key, other); }))
      continue;
    seen.push_back(std::move(key));
    kept.push_back(std::move(item));
  }
  return iterator(r, std::move(kept));
}

Value first(Runtime& r, const Value& input, const Arguments&) {
  if (const Sequence* const s = input.sequence(); s && s->type == SequenceType::kIterator)
    return s->taken < s->items.size() ? s->items[s->taken++] : r.undefined("there is no first item");
  const Values items = items_of(r, input);
  return items.empty() ? r.undefined("there is no first item") : items.front();
}

Value last(Runtime& r, const Value& input, const Arguments&) {
  if (const Sequence* const s = input.sequence(); s && s->type == SequenceType::kIterator)
    r.fail("'last' cannot go backwards through an iterator");
  const Values items = items_of(r, input);
  return items.empty() ? r.undefined("there is no last item") : items.back();
}

Value to_list(Runtime& r, const Value& input, const Arguments&) { return r.list(items_of(r, input)); }

Value items_filter(Runtime& r, const Value& input, const Arguments&) {
  Values pairs;
  if (input.is_undefined()) return iterator(r, std::move(pairs));
  const Dict* const dict = input.dict();
  if (!dict) r.fail("'items' wants a dict, not " + type_name(input));
  for (const auto& [key, value] : dict->entries) pairs.push_back(r.list({key, value}, SequenceType::kTuple));
  return iterator(r, std::move(pairs));
}

Value reverse(Runtime& r, const Value& input, const Arguments&) {
  Values items = items_of(r, input);
  std::reverse(items.begin(), items.end());
  if (!input.string()) return iterator(r, std::move(items));
  std::string text;
  for (const Value& item : items) text += *item.string();
  return r.text(std::move(text));
}

Value join(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "join";
  const Parameters p(r, name, arguments, {"d", "attribute"});
  const std::string between = p.at(0) ? soft_text(r, *p.at(0)) : std::string();
  std::string out;
  bool is_first = true;
  for (const Value& item : items_of(r, input)) {
    if (!std::exchange(is_first, false)) out += between;
    r.charge(between.size());
    out += soft_text(r, follow(r, item, p.at(1)));
  }
  return r.text(std::move(out));
}

Value sum(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "sum";
  const Parameters p(r, name, arguments, {"attribute", "start"});
  Value total = p.at(1) ? *p.at(1) : Value(int64_t{0});
  if (total.string()) r.fail("'sum' cannot add strings; 'join' does");
  for (const Value& item : items_of(r, input))
    total = apply(r, BinaryOperator::kAdd, total, follow(r, item, p.at(0)));
  return total;
}

Value map_filter(Runtime& r, const Value& input, const Arguments& arguments) {
  const auto named = [&](const char* name) -> const Value* {
    for (const auto& [n, value] : arguments.named) {
      if (n == name) return &value;
    }
    return nullptr;
  };
  Values out;
  if (!truth(input)) return iterator(r, std::move(out));
  if (const Value* const attribute = named("attribute"); attribute && arguments.positional.empty()) {
    const Value* const otherwise = named("default");
    for (const Value& item : items_of(r, input)) {
      Value value = follow(r, item, attribute);
      out.push_back(value.is_undefined() && otherwise ? *otherwise : std::move(value));
    }
    return iterator(r, std::move(out));
  }
  if (arguments.positional.empty() || !arguments.positional[0].string())
    r.fail("'map' wants the name of a filter, or attribute=");
  const std::string& name = *arguments.positional[0].string();
  const FilterFunction function = find_filter(name);
  const Runtime::Nested nested(r);
  Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()}, arguments.named};
  for (const Value& item : items_of(r, input)) {  // without items, Jinja does not look for the filter
    if (!function) r.fail("the filter '" + name + "' is not supported");
    out.push_back(function(r, item, rest));
  }
  return iterator(r, std::move(out));
}

template <bool kKeep, bool kAttribute>
Value select(Runtime& r, const Value& input, const Arguments& arguments) {
  constexpr size_t kOffset = kAttribute ? 1 : 0;
  Values kept;
  if (!truth(input)) return iterator(r, std::move(kept));
  if (arguments.positional.size() < kOffset)
    r.fail("'selectattr' and 'rejectattr' want the name of an attribute");
  TestFunction test = nullptr;
  Arguments rest;
  if (arguments.positional.size() > kOffset) {
    const std::string name = to_text(arguments.positional[kOffset]);
    test = find_test(name);
    if (!test) r.fail("the test '" + name + "' is not supported");
    rest = {{arguments.positional.begin() + kOffset + 1, arguments.positional.end()}, arguments.named};
  }
  for (Value& item : items_of(r, input)) {
    const Value value = kAttribute ? follow(r, item, &arguments.positional[0]) : item;
    if ((test ? test(r, value, rest) : truth(value)) == kKeep) kept.push_back(std::move(item));
  }
  return iterator(r, std::move(kept));
}

}  // namespace

const std::vector<std::pair<std::string, FilterFunction>>& list_filters() {
  static const std::vector<std::pair<std::string, FilterFunction>> table = {
      {"dictsort", dictsort},
      {"first", first},
      {"items", items_filter},
      {"join", join},
      {"last", last},
      {"list", to_list},
      {"map", map_filter},
      {"max", extreme<true>},
      {"min", extreme<false>},
      {"reject", select<false, false>},
      {"rejectattr", select<false, true>},
      {"reverse", reverse},
      {"select", select<true, false>},
      {"selectattr", select<true, true>},
      {"sort", sort},
      {"sum", sum},
      {"unique", unique}};
  return table;
}

}  // namespace fathom::jinja
