// The functions that a template finds without anyone passing them.

#include <ctime>

#include "text/jinja_runtime.h"
#include "text/utf8.h"

namespace fathom::jinja {
namespace {

constexpr uint64_t kMaxRange = 100'000;  // as in Jinja's sandbox

Value range(Runtime& r, const Arguments& arguments) {
  static const std::string name = "range";
  const Parameters p(r, name, arguments, {"start", "stop", "step"});
  p.required(0);
  const bool only_stop = !p.at(1);
  const int64_t start = only_stop ? 0 : p.integer(0, 0), stop = p.integer(only_stop ? 0 : 1, 0);
  const int64_t step = p.integer(2, 1);
  if (step == 0) r.fail("the step of a range is 0");
  Values items;
  __extension__ using Wide = __int128;
  for (Wide i = start; step > 0 ? i < stop : i > stop; i += step) {
    if (items.size() == kMaxRange) r.fail("a range of more than " + std::to_string(kMaxRange) + " numbers");
    items.push_back(Value(static_cast<int64_t>(i)));
  }
  r.step(items.size());
  return r.list(std::move(items), SequenceType::kRange);
}

/// dict(a=1, b=2), dict(other), namespace(a=1): the entries of both kinds of argument.
std::vector<std::pair<Value, Value>> entries_of(Runtime& r, const std::string& name,
                                                const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> entries;
  if (arguments.positional.size() > 1) r.fail("'" + name + "' takes at most one argument without a name");
  for (const Value& argument : arguments.positional) {
    const Dict* const dict = argument.dict();
    if (!dict) r.fail("'" + name + "' wants a dict, not " + type_name(argument));
    entries = dict->entries;
  }
  for (const auto& [key, value] : arguments.named) {
    bool found = false;
    for (auto& [existing, old] : entries) {
      if (!existing.string() || *existing.string() != key) continue;
      old = value;
      found = true;
    }
    if (!found) entries.emplace_back(r.text(key), value);
  }
  return entries;
}

Value make_dict(Runtime& r, const Arguments& arguments) { return r.dict(entries_of(r, "dict", arguments)); }

Value make_namespace(Runtime& r, const Arguments& arguments) {
  const Value made = r.make_namespace();
  auto& attributes = (*made.get<std::shared_ptr<Namespace>>())->attributes;
  for (auto& [key, value] : entries_of(r, "namespace", arguments))
    attributes.emplace_back(to_text(key), value);
  return made;
}

Value raise_exception(Runtime& r, const Arguments& arguments) {
  static const std::string name = "raise_exception";
  const Parameters p(r, name, arguments, {"message"});
  const std::string message = to_text(p.required(0));
  r.fail("the chat template refuses the conversation: " + message.substr(0, utf8_floor(message, 300)));
}

Value strftime_now(Runtime& r, const Arguments& arguments) {
  static const std::string name = "strftime_now";
  const Parameters p(r, name, arguments, {"format"});
  p.required(0);
  const std::string format = p.text(0, {});
  const auto seconds = static_cast<std::time_t>(r.now());
  std::tm time{};
  if (!gmtime_r(&seconds, &time)) r.fail("the time is out of range");
  char text[512];
  const size_t length = std::strftime(text, sizeof text, format.c_str(), &time);
  if (length == 0 && !format.empty()) r.fail("the date format is too long");
  return r.text(std::string(text, length));
}

}  // namespace

std::vector<std::pair<std::string, Value>> global_functions(Runtime& runtime) {
  using Call = Value (*)(Runtime&, const Arguments&);
  const std::pair<const char*, Call> table[] = {{"range", range},
                                                {"dict", make_dict},
                                                {"namespace", make_namespace},
                                                {"raise_exception", raise_exception},
                                                {"strftime_now", strftime_now}};
  std::vector<std::pair<std::string, Value>> functions;
  for (const auto& [name, call] : table) functions.emplace_back(name, runtime.function(name, call));
  return functions;
}

}  // namespace fathom::jinja
