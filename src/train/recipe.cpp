#include "train/recipe.h"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "core/error.h"
#include "core/file.h"
#include "train/run_folder.h"

namespace fathom {
namespace {

constexpr const char* kFactKeys[] = {
    "data_fingerprint", "parameters", "started", "fathom_version", "cpu", "isa", "threads"};

toml::table parse(const std::filesystem::path& path) {
  const std::string text = read_text_file(path);
  try {
    return toml::parse(text, path.string());
  } catch (const toml::parse_error& e) {
    throw Error(ErrorCode::kUsage, {.what = "is not TOML: " + std::string(e.description()),
                                    .path = path.string(),
                                    .line = e.source().begin.line,
                                    .hint = "write lines such as lr = 1e-3"});
  }
}

// A value as assign() reads it.
std::string plain_text(const toml::node& node, const std::string& origin, std::string_view key) {
  if (const auto* s = node.as_string()) return s->get();
  if (const auto* i = node.as_integer()) return std::to_string(i->get());
  if (const auto* x = node.as_floating_point()) return fmt::format("{}", x->get());
  if (const auto* b = node.as_boolean()) return b->get() ? "true" : "false";
  usage_error(fmt::format("{}: '{}' must be a single value", origin, key),
              "a recipe is flat: lines such as lr = 1e-3");
}

// Lines `key = value`. Strings are quoted and escaped by the TOML library; numbers are written by hand, in
// the fewest digits that read back the same.
std::string line_of(std::string_view key, const std::string& value) {
  std::ostringstream out;
  out << toml::table{{key, value}} << '\n';
  return out.str();
}

std::string line_of(std::string_view key, uint64_t value) { return fmt::format("{} = {}\n", key, value); }

std::string line_of(std::string_view key, bool value) { return fmt::format("{} = {}\n", key, value); }

std::string line_of(std::string_view key, double value) {
  const std::string digits = fmt::format("{}", value);
  const bool is_real = digits.find_first_of(".e") != std::string::npos;
  return fmt::format("{} = {}{}\n", key, digits, is_real ? "" : ".0");
}

}  // namespace

void read_recipe(TrainSettings& settings, const std::filesystem::path& path) {
  const toml::table table = parse(path);
  if (table.contains("steps") + table.contains("tokens") + table.contains("epochs") > 1) {
    usage_error(path.string() + ": has more than one of steps, tokens and epochs", "keep one");
  }
  for (const auto& [key, node] : table) {
    const std::string_view name = key.str();
    if (std::find(std::begin(kFactKeys), std::end(kFactKeys), name) != std::end(kFactKeys)) continue;
    const std::string origin = fmt::format("{}:{}", path.string(), node.source().begin.line);
    assign(settings, name, plain_text(node, origin, name), origin);
  }
}

std::string format_run_toml(const TrainSettings& settings, const RunFacts& facts) {
  std::string text;
  for (const Setting& row : settings_table()) {
    if (text_of(settings, row).empty() || row.name == "tokens" || row.name == "epochs") continue;
    std::visit([&](auto member) { text += line_of(row.name, settings.*member); }, row.member);
  }
  return text + line_of("data_fingerprint", facts.data_fingerprint) +
         line_of("parameters", facts.parameters) + line_of("started", facts.started) +
         line_of("fathom_version", facts.fathom_version) + line_of("cpu", facts.cpu) +
         line_of("isa", facts.isa) + line_of("threads", facts.threads);
}

RunFacts read_facts(const std::filesystem::path& path) {
  const toml::table table = parse(path);
  const auto text = [&](const char* key) { return table[key].value_or(std::string()); };
  const auto number = [&](const char* key) { return static_cast<uint64_t>(table[key].value_or(int64_t{0})); };
  return {.data_fingerprint = text("data_fingerprint"),
          .parameters = number("parameters"),
          .started = text("started"),
          .fathom_version = text("fathom_version"),
          .cpu = text("cpu"),
          .isa = text("isa"),
          .threads = number("threads")};
}

TrainSettings gather_settings(const std::map<std::string, std::string>& flags,
                              const std::filesystem::path& recipe, bool resume,
                              const TrainSettings& defaults) {
  std::string lengths;
  size_t given = 0;
  for (const char* name : {"steps", "tokens", "epochs"}) {
    if (flags.contains(name)) lengths += (given++ > 0 ? " and --" : "--") + std::string(name);
  }
  if (given > 1) usage_error(lengths + " exclude each other", "give one");
  const auto apply_given = [&](TrainSettings& settings) {
    if (!recipe.empty()) read_recipe(settings, recipe);
    for (const auto& [name, text] : flags) assign(settings, name, text, "command line");
  };
  TrainSettings settings = defaults;
  apply_given(settings);
  if (resume && !settings.out.empty()) {
    const std::string out = settings.out;
    check_run_folder(out, resume);
    settings = defaults;
    read_recipe(settings, std::filesystem::path(out) / "run.toml");
    apply_given(settings);
    settings.out = out;
  }
  settings.resume = resume;
  return settings;
}

}  // namespace fathom
