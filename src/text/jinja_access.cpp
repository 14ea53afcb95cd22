// Attributes, items, slices and calls, as Jinja's sandbox looks them up.

#include <algorithm>
#include <limits>

#include "text/jinja_runtime.h"
#include "text/jinja_text.h"

namespace fathom::jinja {
namespace {

Value no_attribute(const Runtime& runtime, const Value& value, const std::string& name) {
  return runtime.undefined("a " + type_name(value) + " has no '" + name + "'");
}

/// Of a running loop.
Value loop_attribute(Runtime& runtime, const std::shared_ptr<const Loop>& loop, const std::string& name) {
  const Values& items = loop->items->items;
  const size_t i = loop->index0, n = items.size();
  const auto number = [](size_t value) { return Value(static_cast<int64_t>(value)); };
  if (name == "index0") return number(i);
  if (name == "index") return number(i + 1);
  if (name == "revindex0") return number(n - 1 - i);
  if (name == "revindex") return number(n - i);
  if (name == "first") return Value(i == 0);
  if (name == "last") return Value(i + 1 == n);
  if (name == "length") return number(n);
  if (name == "depth") return number(1);  // more only where a loop calls itself, which is not supported
  if (name == "depth0") return number(0);
  if (name == "previtem") return i > 0 ? items[i - 1] : runtime.undefined("there is no previous item");
  if (name == "nextitem") return i + 1 < n ? items[i + 1] : runtime.undefined("there is no next item");
  if (name == "cycle") {
    return runtime.function("cycle", [i](Runtime& r, const Arguments& arguments) {
      if (arguments.positional.empty()) r.fail("'cycle' needs an argument");
      return arguments.positional[i % arguments.positional.size()];
    });
  }
  return runtime.undefined("a loop has no '" + name + "', or it is not supported");
}

bool has_index(const Sequence& sequence) {
  return sequence.type != SequenceType::kView && sequence.type != SequenceType::kIterator;
}

/// A Python index as a place in [0, length), or nothing.
std::optional<size_t> place(int64_t index, size_t length) {
  const auto n = static_cast<int64_t>(length);
  if (index < 0) index += n;
  return index >= 0 && index < n ? std::optional<size_t>(static_cast<size_t>(index)) : std::nullopt;
}

/// The places that a slice takes (CPython, PySlice_AdjustIndices).
std::vector<size_t> slice_places(Runtime& runtime, size_t length, const Value* start, const Value* stop,
                                 const Value* step_value) {
  const auto bound = [&](const Value* value, int64_t otherwise) {
    if (!value || value->is_none()) return otherwise;
    if (const auto i = value->integer()) return *i;
    require_defined(runtime, *value);
    runtime.fail("the bound of a slice must be an int, not " + type_name(*value));
  };
  const int64_t step = bound(step_value, 1), n = static_cast<int64_t>(length);
  if (step == 0) runtime.fail("the step of a slice is 0");
  const auto clamp = [&](int64_t i) {
    if (i < 0) i = i < -n ? -1 : i + n;
    return std::clamp<int64_t>(i, step < 0 ? -1 : 0, step < 0 ? n - 1 : n);
  };
  const bool from = start && !start->is_none(), to = stop && !stop->is_none();
  int64_t i = from ? clamp(bound(start, 0)) : step < 0 ? n - 1 : 0;
  const int64_t end = to ? clamp(bound(stop, 0)) : step < 0 ? -1 : n;
  std::vector<size_t> places;
  for (; step < 0 ? i > end : i < end;) {
    places.push_back(static_cast<size_t>(i));
    if (step > n || step < -n) break;  // the next one lies outside, and may not be a number any more
    i += step;
  }
  runtime.step(places.size());
  return places;
}

}  // namespace

Value get_attribute(Runtime& runtime, const Value& value, const std::string& name) {
  require_defined(runtime, value);
  if (name.starts_with('_')) return runtime.undefined("the attribute '" + name + "' is not safe");
  if (const auto* const loop = value.get<std::shared_ptr<const Loop>>())
    return loop_attribute(runtime, *loop, name);
  if (const auto* const space = value.get<std::shared_ptr<Namespace>>()) {
    for (const auto& [existing, attribute] : (*space)->attributes) {
      if (existing == name) return attribute;
    }
    return no_attribute(runtime, value, name);
  }
  if (Value method = method_of(runtime, value, name); !method.is_undefined()) return method;
  if (const Dict* const dict = value.dict()) {
    runtime.step(dict->entries.size() / 16);
    if (const Value* const entry = dict->find(std::string_view(name))) return *entry;
  }
  return no_attribute(runtime, value, name);
}

Value get_item(Runtime& runtime, const Value& value, const Value& key) {
  require_defined(runtime, value);
  if (const Dict* const dict = value.dict()) {
    runtime.step(dict->entries.size() / 16);
    if (const Value* const entry = dict->find(key)) return *entry;
  }
  if (const auto index = key.integer()) {
    if (const Sequence* const sequence = value.sequence(); sequence && has_index(*sequence)) {
      const auto i = place(*index, sequence->items.size());
      if (i) return sequence->items[*i];
    }
    if (const std::string* const text = value.string()) {
      runtime.step(text->size() / 64);
      if (const auto i = place(*index, text_length(*text))) {
        const size_t at = byte_offset(*text, *i);
        return runtime.text(text->substr(at, byte_offset(std::string_view(*text).substr(at), 1)));
      }
    }
    return runtime.undefined("a " + type_name(value) + " has no item " + std::to_string(*index));
  }
  if (const std::string* const name = key.string()) {
    if (value.dict() || value.string() || value.sequence()) {
      if (Value method = name->starts_with('_') ? Value() : method_of(runtime, value, *name);
          !method.is_undefined())
        return method;
      return no_attribute(runtime, value, *name);
    }
    return get_attribute(runtime, value, *name);
  }
  return runtime.undefined("a " + type_name(value) + " has no item " + to_repr(key));
}

Value get_slice(Runtime& runtime, const Value& value, const Value* start, const Value* stop,
                const Value* step) {
  require_defined(runtime, value);
  if (const std::string* const text = value.string()) {
    const std::vector<std::string_view> all = characters(*text);
    runtime.charge(all.size() * sizeof(std::string_view));
    std::string out;
    for (const size_t i : slice_places(runtime, all.size(), start, stop, step)) out += all[i];
    return runtime.text(std::move(out));
  }
  const Sequence* const sequence = value.sequence();
  if (!sequence || !has_index(*sequence)) runtime.fail("a " + type_name(value) + " cannot be sliced");
  Values items;
  for (const size_t i : slice_places(runtime, sequence->items.size(), start, stop, step))
    items.push_back(sequence->items[i]);
  return runtime.list(std::move(items), sequence->type);
}

Value call(Runtime& runtime, const Value& callee, const Arguments& arguments) {
  require_defined(runtime, callee);
  const auto* const function = callee.get<std::shared_ptr<const Function>>();
  if (!function) runtime.fail("a " + type_name(callee) + " cannot be called");
  return (*function)->call(runtime, arguments);
}

}  // namespace fathom::jinja
