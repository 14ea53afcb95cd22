#include "cli/command_line.h"

#include <cctype>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace fathom::cli {
namespace {

/// Goes from command to subcommand as far as `argv` names some. `unknown`: the first word that stands where a
/// subcommand is required and is none.
const CLI::App& deepest_command(const CLI::App& app, int argc, const char* const* argv, std::string* path,
                                std::string* unknown) {
  const CLI::App* at = &app;
  *path = app.get_name();
  for (int i = 1; i < argc && at->get_require_subcommand_min() > 0; ++i) {
    const std::string word = argv[i];
    if (word.starts_with('-')) break;
    const auto named = at->get_subcommands([&](const CLI::App* a) { return a->get_name() == word; });
    if (named.empty()) {
      *unknown = word;
      break;
    }
    at = named.front();
    *path += " " + word;
  }
  return *at;
}

std::string refuse_unclear(const std::string& type, const std::string& value) {
  if (value.empty()) return "the value is empty; leave the flag out, or give one";
  if (type == "UINT" && value.starts_with('-')) return value + " is below 0";
  if (type == "FLOAT" && !std::isfinite(std::strtod(value.c_str(), nullptr))) return value + " is no number";
  return {};
}

// "16k" -> "16000"; anything else stays for the option itself to judge.
std::string spell_out(std::string& value) {
  static constexpr std::pair<char, const char*> kUnits[] = {
      {'k', "000"}, {'m', "000000"}, {'g', "000000000"}};
  if (value.size() < 2 || value.find_first_not_of("0123456789") != value.size() - 1) return {};
  const char unit = static_cast<char>(std::tolower(static_cast<unsigned char>(value.back())));
  for (const auto& [name, zeros] : kUnits) {
    if (unit == name) value.replace(value.size() - 1, 1, zeros);
  }
  return {};
}

// "arc_easy, piqa": the space is not part of a name.
std::string trim(std::string& value) {
  const size_t begin = value.find_first_not_of(' ');
  if (begin != value.npos) value = value.substr(begin, value.find_last_not_of(' ') + 1 - begin);
  return {};
}

}  // namespace

void require_known_command(const CLI::App& app, int argc, const char* const* argv) {
  std::string path, unknown;
  const CLI::App& at = deepest_command(app, argc, argv, &path, &unknown);
  if (unknown.empty()) return;
  std::vector<std::string> names;
  std::string known;
  for (const CLI::App* command : at.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
    known += (known.empty() ? "" : ", ") + names.back();
  }
  const std::string close = nearest(unknown, names);
  usage_error("unknown command '" + path + " " + unknown + "'",
              (close.empty() ? "" : "did you mean '" + close + "'? ") + ("known: " + known));
}

std::string command_path(const CLI::App& app, int argc, const char* const* argv) {
  std::string path, unknown;
  deepest_command(app, argc, argv, &path, &unknown);
  return path;
}

void refuse_unclear_values(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_items_expected_max() == 0) continue;  // a flag
    const std::string type = option->get_type_name();
    if (option->get_delimiter() == ',') option->transform(CLI::Validator(trim, ""));
    if (type.starts_with("UINT")) option->transform(CLI::Validator(spell_out, ""));
    option->check([type = type.substr(0, type.find_first_of(": "))](const std::string& value) {
      return refuse_unclear(type, value);
    });
  }
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    refuse_unclear_values(*command);
}

}  // namespace fathom::cli
