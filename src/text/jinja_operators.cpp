// Arithmetic and comparison with Python's meaning.

#include <cmath>

#include <fmt/format.h>

#include "text/jinja_runtime.h"
#include "text/jinja_text.h"
#include "text/unicode.h"

namespace fathom::jinja {
namespace {

const char* symbol(BinaryOperator op) {
  static const char* const symbols[] = {"+", "-", "*", "/", "//", "%", "**"};
  return symbols[static_cast<size_t>(op)];
}

[[noreturn]] void fail_types(Runtime& r, const std::string& op, const Value& a, const Value& b) {
  require_defined(r, a);
  require_defined(r, b);
  r.fail("'" + op + "' cannot take a " + type_name(a) + " and a " + type_name(b));
}

[[noreturn]] void fail_overflow(Runtime& r) { r.fail("a number does not fit into 64 bits"); }

int64_t floor_quotient(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0); }

Value power(Runtime& r, int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) r.fail("0 to a negative power");
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) fail_overflow(r);
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) fail_overflow(r);
  }
  return Value(result);
}

Value apply_integers(Runtime& r, BinaryOperator op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case BinaryOperator::kAdd:
      if (__builtin_add_overflow(a, b, &result)) fail_overflow(r);
      return Value(result);
    case BinaryOperator::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) fail_overflow(r);
      return Value(result);
    case BinaryOperator::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) fail_overflow(r);
      return Value(result);
    case BinaryOperator::kPower:
      return power(r, a, b);
    default:
      break;
  }
  if (b == 0) r.fail("division by zero");
  if (op == BinaryOperator::kDivide) return Value(static_cast<double>(a) / static_cast<double>(b));
  if (b == -1) {  // the one quotient that can overflow, and a remainder that the processor traps on
    if (op == BinaryOperator::kModulo) return Value(int64_t{0});
    if (__builtin_sub_overflow(int64_t{0}, a, &result)) fail_overflow(r);
    return Value(result);
  }
  if (op == BinaryOperator::kFloorDivide) return Value(floor_quotient(a, b));
  return Value(a - floor_quotient(a, b) * b);
}

/// Python's float % and //: the remainder has the sign of the divisor.
std::pair<double, double> divide_floor(double a, double b) {
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  double floored = std::copysign(0.0, a / b);
  if (quotient != 0) {
    floored = std::floor(quotient);
    if (quotient - floored > 0.5) floored += 1;
  }
  return {floored, remainder};
}

Value apply_floats(Runtime& r, BinaryOperator op, double a, double b) {
  switch (op) {
    case BinaryOperator::kAdd:
      return Value(a + b);
    case BinaryOperator::kSubtract:
      return Value(a - b);
    case BinaryOperator::kMultiply:
      return Value(a * b);
    case BinaryOperator::kPower: {
      if (a == 0 && b < 0) r.fail("0 to a negative power");
      const double result = std::pow(a, b);
      if (std::isnan(result) && !std::isnan(a) && !std::isnan(b)) r.fail("a power that is no real number");
      if (std::isinf(result) && !std::isinf(a) && !std::isinf(b)) r.fail("a number is too large");
      return Value(result);
    }
    default:
      break;
  }
  if (b == 0) r.fail("division by zero");
  if (op == BinaryOperator::kDivide) return Value(a / b);
  const auto [quotient, remainder] = divide_floor(a, b);
  return Value(op == BinaryOperator::kFloorDivide ? quotient : remainder);
}

Value repeat(Runtime& r, const Value& value, int64_t count) {
  const auto n = static_cast<uint64_t>(std::max<int64_t>(count, 0));
  if (const std::string* const text = value.string()) {
    if (n > 0 && text->size() > (uint64_t{1} << 40) / n) r.fail("a text is too long");
    r.charge(text->size() * n);
    std::string out;
    out.reserve(text->size() * n);
    for (uint64_t i = 0; i < n && !text->empty(); ++i) out += *text;
    return r.text(std::move(out));
  }
  const Values& items = value.sequence()->items;
  if (n > 0 && items.size() > (uint64_t{1} << 40) / n) r.fail("a list is too long");
  r.step(items.size() * n);
  Values out;
  for (uint64_t i = 0; i < n && !items.empty(); ++i) out.insert(out.end(), items.begin(), items.end());
  return r.list(std::move(out), value.sequence()->type);
}

bool is_list(const Value& value) {
  const Sequence* const s = value.sequence();
  return s && (s->type == SequenceType::kList || s->type == SequenceType::kTuple);
}

bool contains(Runtime& r, const Value& container, const Value& item) {
  if (const std::string* const text = container.string()) {
    require_defined(r, item);
    if (!item.string()) r.fail("'in' wants a str on the left of a str, not " + type_name(item));
    r.step(text->size() / 64);
    return text->find(*item.string()) != std::string::npos;
  }
  if (const Dict* const dict = container.dict()) {
    r.step(dict->entries.size() / 16);
    return dict->find(item) != nullptr;
  }
  for (const Value& candidate : items_of(r, container)) {
    if (equal(candidate, item)) return true;
  }
  return false;
}

}  // namespace

Value apply(Runtime& r, BinaryOperator op, const Value& a, const Value& b) {
  if (a.integer() && b.integer()) return apply_integers(r, op, *a.integer(), *b.integer());
  if (a.number() && b.number()) return apply_floats(r, op, *a.number(), *b.number());
  if (op == BinaryOperator::kModulo && a.string()) {
    return r.text(format_text(r, *a.string(), b));
  }
  if (op == BinaryOperator::kAdd && a.string() && b.string()) {
    r.charge(a.string()->size() + b.string()->size());
    return r.text(*a.string() + *b.string());
  }
  if (op == BinaryOperator::kAdd && is_list(a) && is_list(b) && a.sequence()->type == b.sequence()->type) {
    r.step(a.sequence()->items.size() + b.sequence()->items.size());
    Values items = a.sequence()->items;
    items.insert(items.end(), b.sequence()->items.begin(), b.sequence()->items.end());
    return r.list(std::move(items), a.sequence()->type);
  }
  if (op == BinaryOperator::kMultiply) {
    if ((a.string() || is_list(a)) && b.integer()) return repeat(r, a, *b.integer());
    if ((b.string() || is_list(b)) && a.integer()) return repeat(r, b, *a.integer());
  }
  fail_types(r, symbol(op), a, b);
}

bool holds(Runtime& r, Comparison comparison, const Value& a, const Value& b) {
  switch (comparison) {
    case Comparison::kEqual:
      return equal(a, b);
    case Comparison::kNotEqual:
      return !equal(a, b);
    case Comparison::kIn:
      return contains(r, b, a);
    case Comparison::kNotIn:
      return !contains(r, b, a);
    default:
      break;
  }
  const auto order = compare(a, b);
  if (!order && a.number() && b.number()) return false;  // not a number
  if (!order) fail_types(r, "a comparison", a, b);
  switch (comparison) {
    case Comparison::kLess:
      return *order < 0;
    case Comparison::kLessEqual:
      return *order <= 0;
    case Comparison::kGreater:
      return *order > 0;
    default:
      return *order >= 0;
  }
}

Value negate(Runtime& r, const Value& value) {
  if (const auto i = value.integer()) return apply_integers(r, BinaryOperator::kSubtract, 0, *i);
  if (const auto x = value.number()) return Value(-*x);
  require_defined(r, value);
  r.fail("'-' cannot take a " + type_name(value));
}

std::string format_text(Runtime& r, const std::string& format, const Value& values) {
  const Sequence* const tuple = values.sequence();
  const Values arguments = tuple && tuple->type == SequenceType::kTuple ? tuple->items : Values{values};
  std::string out;
  size_t used = 0;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    size_t precision = std::string::npos;
    if (++i < format.size() && format[i] == '.') {
      precision = 0;
      for (++i; i < format.size() && format[i] >= '0' && format[i] <= '9' && precision < 100; ++i)
        precision = precision * 10 + static_cast<size_t>(format[i] - '0');
    }
    const char kind = i < format.size() ? format[i] : '\0';
    if (kind == '%') {
      out += '%';
      continue;
    }
    if (std::string_view("sdirf").find(kind) == std::string_view::npos ||
        (kind != 'f' && precision != std::string::npos))
      r.fail("the format '" + format.substr(0, 40) +
             "' has a part that is not supported (known: %s, %r, %d, %i, %f)");
    if (used == arguments.size()) r.fail("the format '" + format.substr(0, 40) + "' has too few values");
    const Value& value = arguments[used++];
    if (kind == 's') {
      out += soft_text(r, value);
    } else if (kind == 'r') {
      out += to_repr(value);
    } else {
      require_defined(r, value);
      const auto number = value.number();
      if (!number) r.fail(std::string("the format %") + kind + " wants a number, not " + type_name(value));
      if (kind == 'f')
        out += fmt::format("{:.{}f}", *number, precision == std::string::npos ? 6 : precision);
      else
        out +=
            value.integer() ? std::to_string(*value.integer()) : fmt::format("{:.0f}", std::trunc(*number));
    }
    r.charge(out.size() / 4);
  }
  const bool is_mapping = values.dict() != nullptr || (tuple && tuple->type != SequenceType::kTuple);
  if (used < arguments.size() && !is_mapping)
    r.fail("the format '" + format.substr(0, 40) + "' has too many values");
  return out;
}

}  // namespace fathom::jinja
