// Jinja's filters, those that chat templates use. Source: pallets/jinja, src/jinja2/filters.py.
// The ones that go over lists are in jinja_list_filters.cpp.

#include <charconv>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "text/jinja_list_filters.h"
#include "text/jinja_runtime.h"
#include "text/jinja_text.h"

namespace fathom::jinja {
namespace {

template <std::string (*kMap)(std::string_view)>
Value map_text(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "a filter of case";
  const Parameters p(r, name, arguments, {});
  return r.text(kMap(soft_text(r, input)));
}

Value trim(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "trim";
  const Parameters p(r, name, arguments, {"chars"});
  std::optional<std::string> chars;
  if (p.at(0) && !p.at(0)->is_none()) chars = p.text(0, {});
  return r.text(std::string(strip(soft_text(r, input), chars, true, true)));
}

Value replace_filter(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "replace";
  const Parameters p(r, name, arguments, {"old", "new", "count"});
  const std::string from = soft_text(r, p.required(0)), to = soft_text(r, p.required(1)),
                    all = soft_text(r, input);
  r.charge(all.size() + (from.empty() ? all.size() + 1 : all.size() / from.size()) * to.size());
  const int64_t count = p.at(2) && !p.at(2)->is_none() ? p.integer(2, -1) : -1;
  return r.text(replace(all, from, to, count));
}

Value to_string(Runtime& r, const Value& input, const Arguments&) { return r.text(soft_text(r, input)); }

Value safe(Runtime&, const Value& input, const Arguments&) { return input; }  // nothing is ever escaped

Value indent(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "indent";
  const Parameters p(r, name, arguments, {"width", "first", "blank"});
  require_defined(r, input);
  if (!input.string()) r.fail("'indent' wants a str, not " + type_name(input));
  const bool is_text = p.at(0) && p.at(0)->string();
  const int64_t width = is_text ? 0 : std::max<int64_t>(p.integer(0, 4), 0);
  if (width > 10000) r.fail("'indent' by " + std::to_string(width));
  const std::string margin = is_text ? *p.at(0)->string() : std::string(static_cast<size_t>(width), ' ');
  const bool blank = p.boolean(2, false);
  const std::vector<std::string> lines = split_lines(*input.string() + "\n");
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    r.charge(margin.size() + lines[i].size());
    if (i > 0) out += '\n';
    if (i == 0 ? p.boolean(1, false) : blank || !lines[i].empty()) out += margin;
    out += lines[i];
  }
  return r.text(std::move(out));
}

Value format_filter(Runtime& r, const Value& input, const Arguments& arguments) {
  if (!arguments.named.empty()) r.fail("'format' with names is not supported");
  return r.text(format_text(r, soft_text(r, input), r.list(arguments.positional, SequenceType::kTuple)));
}

Value default_value(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "default";
  const Parameters p(r, name, arguments, {"default_value", "boolean"});
  if (!input.is_undefined() && (!p.boolean(1, false) || truth(input))) return input;
  return p.at(0) ? *p.at(0) : r.text({});
}

Value length(Runtime& r, const Value& input, const Arguments&) {
  const auto count = [](size_t n) { return Value(static_cast<int64_t>(n)); };
  if (input.is_undefined()) return count(0);
  if (const std::string* const text = input.string()) {
    r.step(text->size() / 64);
    return count(text_length(*text));
  }
  if (const Dict* const dict = input.dict()) return count(dict->entries.size());
  if (const Sequence* const s = input.sequence(); s && s->type != SequenceType::kIterator)
    return count(s->items.size());
  r.fail("a " + type_name(input) + " has no length");
}

Value absolute(Runtime& r, const Value& input, const Arguments&) {
  const auto x = input.number();
  require_defined(r, input);
  if (!x) r.fail("'abs' wants a number, not " + type_name(input));
  if (const auto i = input.integer()) return *i < 0 ? negate(r, input) : Value(*i);
  return Value(std::fabs(*x));
}

/// Python's int(text, base) and float(text): nothing where the text is no number.
std::optional<int64_t> parse_integer(std::string_view text, int base) {
  std::string digits(strip(text, std::nullopt, true, true));
  std::erase(digits, '_');
  const bool plus = digits.starts_with('+');
  const char *const begin = digits.data() + (plus ? 1 : 0), *const end = digits.data() + digits.size();
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value, base);
  if (begin == end || error != std::errc() || stop != end || (plus && *begin == '-')) return std::nullopt;
  return value;
}

std::optional<double> parse_float(std::string_view text) {
  std::string digits(strip(text, std::nullopt, true, true));
  std::erase(digits, '_');
  const bool plus = digits.starts_with('+');
  const char *const begin = digits.data() + (plus ? 1 : 0), *const end = digits.data() + digits.size();
  double value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (begin == end || error != std::errc() || stop != end || (plus && *begin == '-')) return std::nullopt;
  return value;
}

Value to_integer(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "int";
  const Parameters p(r, name, arguments, {"default", "base"});
  const int64_t base = p.integer(1, 10);
  if (base < 2 || base > 36) r.fail("'int' in base " + std::to_string(base));
  require_defined(r, input);
  const Value otherwise = p.at(0) ? *p.at(0) : Value(int64_t{0});
  if (const auto i = input.integer()) return Value(*i);
  std::optional<double> x = input.number();
  if (const std::string* const text = input.string()) {
    if (const auto i = parse_integer(*text, static_cast<int>(base))) return Value(*i);
    x = parse_float(*text);
  }
  if (!x || !std::isfinite(*x)) return otherwise;
  if (std::fabs(*x) >= 0x1p63) r.fail("a number does not fit into 64 bits");
  return Value(static_cast<int64_t>(*x));
}

Value to_float(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "float";
  const Parameters p(r, name, arguments, {"default"});
  require_defined(r, input);
  std::optional<double> x = input.number();
  if (input.string()) x = parse_float(*input.string());
  return x ? Value(*x) : p.at(0) ? *p.at(0) : Value(0.0);
}

Value round_filter(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "round";
  const Parameters p(r, name, arguments, {"precision", "method"});
  const int64_t precision = p.integer(0, 0);
  const std::string method = p.text(1, "common");
  const auto x = input.number();
  require_defined(r, input);
  if (!x) r.fail("'round' wants a number, not " + type_name(input));
  if (precision < 0 || precision > 20)
    r.fail("'round' to " + std::to_string(precision) + " places is not supported");
  if (method == "common") {
    if (const auto i = input.integer()) return Value(*i);
    return std::isfinite(*x) ? Value(std::stod(fmt::format("{:.{}f}", *x, precision))) : input;
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return Value(std::ceil(*x * scale) / scale);
  if (method == "floor") return Value(std::floor(*x * scale) / scale);
  r.fail("'round' knows the methods common, ceil and floor");
}

Value attribute(Runtime& r, const Value& input, const Arguments& arguments) {
  static const std::string name = "attr";
  const Parameters p(r, name, arguments, {"name"});
  p.required(0);
  if (input.dict()) return method_of(r, input, p.text(0, {}));  // a dict's entries are no attributes
  return get_attribute(r, input, p.text(0, {}));
}

const std::map<std::string, FilterFunction, std::less<>>& filters() {
  static const std::map<std::string, FilterFunction, std::less<>> table = [] {
    std::map<std::string, FilterFunction, std::less<>> t = {{"abs", absolute},
                                                            {"attr", attribute},
                                                            {"capitalize", map_text<capitalize>},
                                                            {"count", length},
                                                            {"d", default_value},
                                                            {"default", default_value},
                                                            {"float", to_float},
                                                            {"format", format_filter},
                                                            {"indent", indent},
                                                            {"int", to_integer},
                                                            {"length", length},
                                                            {"lower", map_text<lower>},
                                                            {"replace", replace_filter},
                                                            {"round", round_filter},
                                                            {"safe", safe},
                                                            {"string", to_string},
                                                            {"title", map_text<title_filter>},
                                                            {"tojson", to_json},
                                                            {"trim", trim},
                                                            {"upper", map_text<upper>}};
    for (const auto& [name, function] : list_filters()) t.emplace(name, function);
    return t;
  }();
  return table;
}

}  // namespace

FilterFunction find_filter(const std::string& name) {
  const auto at = filters().find(name);
  return at == filters().end() ? nullptr : at->second;
}

std::vector<std::string> filter_names() {
  std::vector<std::string> names;
  for (const auto& entry : filters()) names.push_back(entry.first);
  return names;
}

}  // namespace fathom::jinja
