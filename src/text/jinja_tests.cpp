// What may stand behind `is`. Source: pallets/jinja, src/jinja2/tests.py.

#include <map>

#include "text/jinja_runtime.h"

namespace fathom::jinja {
namespace {

const Value& only_argument(Runtime& r, const Arguments& arguments) {
  if (arguments.positional.size() != 1 || !arguments.named.empty()) r.fail("this test wants one argument");
  return arguments.positional[0];
}

template <Comparison kComparison>
bool compares(Runtime& r, const Value& value, const Arguments& arguments) {
  return holds(r, kComparison, value, only_argument(r, arguments));
}

template <bool kWanted>
bool is_bool(Runtime&, const Value& value, const Arguments&) {
  const bool* const b = value.get<bool>();
  return b && *b == kWanted;
}

bool divides(Runtime& r, const Value& value, const Value& by) {
  return equal(apply(r, BinaryOperator::kModulo, value, by), Value(int64_t{0}));
}

template <bool kWanted>
bool is_even(Runtime& r, const Value& value, const Arguments&) {
  if (!value.integer()) require_defined(r, value);
  return divides(r, value, Value(int64_t{2})) == kWanted;
}

template <const char* kMethod>
bool has_case(Runtime& r, const Value& value, const Arguments&) {
  return truth(call(r, method_of(r, r.text(soft_text(r, value)), kMethod), {}));
}
constexpr char kIsLower[] = "islower", kIsUpper[] = "isupper";

bool is_iterable(Runtime&, const Value& value, const Arguments&) {
  return value.is_undefined() || value.string() || value.sequence() || value.dict() ||
         value.get<std::shared_ptr<const Loop>>();
}

bool is_sequence(Runtime&, const Value& value, const Arguments&) {
  const Sequence* const s = value.sequence();
  const bool has_index = s && s->type != SequenceType::kIterator && s->type != SequenceType::kView;
  return value.is_undefined() || value.string() || value.dict() || has_index;
}

/// Whether both are the same object; of numbers and texts, which have no identity here, equal ones are.
bool is_same(Runtime& r, const Value& value, const Arguments& arguments) {
  const Value& other = only_argument(r, arguments);
  if (value.sequence() || value.dict())
    return value.sequence() == other.sequence() && value.dict() == other.dict();
  return value.data().index() == other.data().index() && equal(value, other);
}

using Tests = std::map<std::string, TestFunction, std::less<>>;

const Tests& tests() {
  static const Tests table = {
      {"defined", [](Runtime&, const Value& v, const Arguments&) { return !v.is_undefined(); }},
      {"undefined", [](Runtime&, const Value& v, const Arguments&) { return v.is_undefined(); }},
      {"none", [](Runtime&, const Value& v, const Arguments&) { return v.is_none(); }},
      {"boolean", [](Runtime&, const Value& v, const Arguments&) { return v.get<bool>() != nullptr; }},
      {"true", is_bool<true>},
      {"false", is_bool<false>},
      {"string", [](Runtime&, const Value& v, const Arguments&) { return v.is_string(); }},
      {"mapping", [](Runtime&, const Value& v, const Arguments&) { return v.dict() != nullptr; }},
      {"number", [](Runtime&, const Value& v, const Arguments&) { return v.number().has_value(); }},
      {"integer", [](Runtime&, const Value& v, const Arguments&) { return v.get<int64_t>() != nullptr; }},
      {"float", [](Runtime&, const Value& v, const Arguments&) { return v.get<double>() != nullptr; }},
      {"sequence", is_sequence},
      {"iterable", is_iterable},
      {"callable", [](Runtime&, const Value& v,
                      const Arguments&) { return v.get<std::shared_ptr<const Function>>() != nullptr; }},
      {"odd", is_even<false>},
      {"even", is_even<true>},
      {"divisibleby",
       [](Runtime& r, const Value& v, const Arguments& a) { return divides(r, v, only_argument(r, a)); }},
      {"lower", has_case<kIsLower>},
      {"upper", has_case<kIsUpper>},
      {"sameas", is_same},
      {"in", compares<Comparison::kIn>},
      {"eq", compares<Comparison::kEqual>},
      {"equalto", compares<Comparison::kEqual>},
      {"==", compares<Comparison::kEqual>},
      {"ne", compares<Comparison::kNotEqual>},
      {"!=", compares<Comparison::kNotEqual>},
      {"lt", compares<Comparison::kLess>},
      {"lessthan", compares<Comparison::kLess>},
      {"<", compares<Comparison::kLess>},
      {"le", compares<Comparison::kLessEqual>},
      {"<=", compares<Comparison::kLessEqual>},
      {"gt", compares<Comparison::kGreater>},
      {"greaterthan", compares<Comparison::kGreater>},
      {">", compares<Comparison::kGreater>},
      {"ge", compares<Comparison::kGreaterEqual>},
      {">=", compares<Comparison::kGreaterEqual>},
  };
  return table;
}

}  // namespace

TestFunction find_test(const std::string& name) {
  const auto at = tests().find(name);
  return at == tests().end() ? nullptr : at->second;
}

std::vector<std::string> test_names() {
  std::vector<std::string> names;
  for (const auto& entry : tests()) names.push_back(entry.first);
  return names;
}

}  // namespace fathom::jinja
