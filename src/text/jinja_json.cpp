// tojson: json.dumps, with transformers' defaults (no HTML escapes, characters as they are).

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "text/jinja_runtime.h"

namespace fathom::jinja {
namespace {

struct Style {
  std::optional<std::string> indent;  // one level's
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false, ascii = false;
};

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, Style style) : runtime_(runtime), style_(std::move(style)) {}

  std::string write(const Value& value) {
    put(value, 0);
    return std::move(out_);
  }

 private:
  void put(const Value& value, size_t level) {
    runtime_.step();
    require_defined(runtime_, value);
    if (const std::string* const text = value.string())
      put_text(*text);
    else if (value.is_none())
      out_ += "null";
    else if (const bool* const b = value.get<bool>())
      out_ += *b ? "true" : "false";
    else if (value.number())
      out_ += number_text(value);
    else if (const Dict* const dict = value.dict())
      put_dict(*dict, level);
    else if (const Sequence* const s = value.sequence();
             s && (s->type == SequenceType::kList || s->type == SequenceType::kTuple))
      put_list(s->items, level);
    else
      runtime_.fail("tojson cannot write a " + type_name(value));
  }

  static std::string number_text(const Value& value) {
    if (const auto i = value.integer()) return std::to_string(*i);
    const double x = *value.number();
    if (std::isnan(x)) return "NaN";
    if (std::isinf(x)) return x < 0 ? "-Infinity" : "Infinity";
    return float_text(x);
  }

  void put_text(const std::string& text) {
    runtime_.charge(text.size());
    out_ += '"';
    const std::string_view all = text;
    for (size_t i = 0; i < all.size(); ++i) {
      const char c = all[i];
      constexpr std::string_view kSpecial = "\"\\\n\r\t\f\b", kNames = "\"\\nrtfb";
      if (const size_t at = kSpecial.find(c); at != std::string_view::npos)
        (out_ += '\\') += kNames[at];
      else if (static_cast<unsigned char>(c) < 0x20)
        out_ += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
      else if (style_.ascii && static_cast<unsigned char>(c) >= 0x80)
        i += put_escaped(all.substr(i)) - 1;
      else
        out_ += c;
    }
    out_ += '"';
  }

  /// One character as \uXXXX, or a pair of surrogates; returns its length.
  size_t put_escaped(std::string_view text) {
    const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
    const size_t length = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
    uint32_t c = byte(0) & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; ++i) c = c << 6 | (byte(i) & 0x3f);
    if (c < 0x10000)
      out_ += fmt::format("\\u{:04x}", c);
    else
      out_ +=
          fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
    return length;
  }

  void new_line(size_t level) {
    if (!style_.indent) return;
    out_ += '\n';
    for (size_t i = 0; i < level; ++i) out_ += *style_.indent;
    runtime_.charge(level * style_.indent->size());
  }

  void put_list(const Values& items, size_t level) {
    out_ += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      new_line(level + 1);
      put(items[i], level + 1);
    }
    if (!items.empty()) new_line(level);
    out_ += ']';
  }

  void put_dict(const Dict& dict, size_t level) {
    std::vector<std::pair<Value, Value>> entries = dict.entries;
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
        return compare(a.first, b.first).value_or(0) < 0;
      });
    }
    out_ += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      new_line(level + 1);
      put_key(entries[i].first);
      out_ += style_.key_separator;
      put(entries[i].second, level + 1);
    }
    if (!entries.empty()) new_line(level);
    out_ += '}';
  }

  void put_key(const Value& key) {
    if (key.string()) return put_text(*key.string());
    if (key.is_none()) return put_text("null");
    if (const bool* const b = key.get<bool>()) return put_text(*b ? "true" : "false");
    if (key.number()) return put_text(number_text(key));
    runtime_.fail("tojson cannot write a " + type_name(key) + " as a key");
  }

  Runtime& runtime_;
  Style style_;
  std::string out_;
};

}  // namespace

Value to_json(Runtime& runtime, const Value& value, const Arguments& arguments) {
  static const std::string name = "tojson";
  const Parameters p(runtime, name, arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  Style style;
  style.ascii = p.boolean(0, false);
  style.sort_keys = p.boolean(3, false);
  if (p.at(1) && !p.at(1)->is_none()) {
    style.indent = p.at(1)->string()
                       ? *p.at(1)->string()
                       : std::string(static_cast<size_t>(std::clamp<int64_t>(p.integer(1, 0), 0, 64)), ' ');
    style.item_separator = ",";
  }
  if (p.at(2) && !p.at(2)->is_none()) {
    const Values pair = items_of(runtime, *p.at(2));
    if (pair.size() != 2 || !pair[0].string() || !pair[1].string())
      runtime.fail("the separators of tojson must be two strings");
    style.item_separator = *pair[0].string();
    style.key_separator = *pair[1].string();
  }
  return runtime.text(JsonWriter(runtime, std::move(style)).write(value));
}

}  // namespace fathom::jinja
