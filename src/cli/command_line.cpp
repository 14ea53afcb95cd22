#include "cli/command_line.h"

#include <cctype>
#include <cmath>
#include <cstdlib>
#include <utility>

#include <CLI/CLI.hpp>

#include "core/error.h"
#include "core/format.h"

namespace fathom::cli {
namespace {

using Arguments = std::vector<std::string>;

constexpr const char* kExample = "Example:\n  ";

std::vector<CLI::App*> commands_of(CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

/// Goes from command to subcommand as far as the arguments name some, and returns the last one's path:
/// "fathom bench gemm". Errors: Error (usage) where a word stands where a subcommand is required and is none.
std::string require_known_command(CLI::App& app, const Arguments& arguments) {
  CLI::App* at = &app;
  std::string path = app.get_name();
  for (const std::string& word : arguments) {
    if (at->get_require_subcommand_min() == 0 || word.starts_with('-')) break;
    Arguments names;
    std::string known;
    CLI::App* named = nullptr;
    for (CLI::App* command : commands_of(*at)) {
      names.push_back(command->get_name());
      known += (known.empty() ? "" : ", ") + names.back();
      if (names.back() == word) named = command;
    }
    if (named == nullptr) {
      const std::string close = nearest(word, names);
      usage_error("unknown command '" + path + " " + word + "'",
                  (close.empty() ? "" : "did you mean '" + close + "'? ") + ("known: " + known));
    }
    at = named;
    path += " " + word;
  }
  return path;
}

std::string refuse_unclear(const std::string& type, const std::string& value) {
  if (value.empty()) return "the value is empty; leave the flag out, or give one";
  if (type == "UINT" && value.starts_with('-')) return value + " is below 0";
  if (type == "FLOAT" && !std::isfinite(std::strtod(value.c_str(), nullptr))) return value + " is no number";
  return {};
}

// "16k" -> "16000"; what has no unit, or is no number, stays for the option itself to judge.
std::string spell_out(std::string& value) {
  if (value.empty() || std::isalpha(static_cast<unsigned char>(value.back())) == 0) return {};
  if (const auto whole = parse_whole_count(value)) value = std::to_string(*whole);
  return {};
}

// "arc_easy, piqa": the space is not part of a name.
std::string trim(std::string& value) {
  const size_t begin = value.find_first_not_of(' ');
  if (begin != value.npos) value = value.substr(begin, value.find_last_not_of(' ') + 1 - begin);
  return {};
}

/// Makes every option of every command refuse what nobody means, and take whole numbers with a unit, as the
/// settings of a run do. Once all are declared: it goes by their types, and its checks come last.
void refuse_unclear_values(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_items_expected_max() == 0) continue;  // a flag
    const std::string type = option->get_type_name();
    if (option->get_delimiter() == ',') option->transform(CLI::Validator(trim, ""));
    const bool is_size = type.find(":SIZE") != type.npos;  // has units of its own, powers of 1024
    if (type.starts_with("UINT") && !is_size) option->transform(CLI::Validator(spell_out, ""));
    option->check([type = type.substr(0, type.find_first_of(": "))](const std::string& value) {
      return refuse_unclear(type, value);
    });
  }
  for (CLI::App* command : commands_of(app)) refuse_unclear_values(*command);
}

}  // namespace

Option& Option::required() {
  option_->required();
  return *this;
}
Option& Option::shows_default() {
  option_->capture_default_str();
  return *this;
}
Option& Option::shows_default(const std::string& text) {
  option_->default_str(text);
  return *this;
}
Option& Option::type_name(const std::string& name) {
  option_->type_name(name);
  return *this;
}
Option& Option::range(int low, int high) {
  option_->check(CLI::Range(low, high));
  return *this;
}
Option& Option::range(uint64_t low, uint64_t high) {
  option_->check(CLI::Range(low, high));
  return *this;
}
Option& Option::range(double low, double high) {
  option_->check(CLI::Range(low, high));
  return *this;
}
Option& Option::positive() {
  option_->check(CLI::PositiveNumber);
  return *this;
}
Option& Option::one_of(const std::vector<std::string>& names) {
  option_->check(CLI::IsMember(names));
  return *this;
}
Option& Option::existing_folder() {
  option_->check(CLI::ExistingDirectory);
  return *this;
}
Option& Option::comma_list() {
  option_->delimiter(',');
  return *this;
}
Option& Option::byte_size() {
  option_->transform(CLI::AsSizeValue(false));
  return *this;
}
Option& Option::excludes(const Option& other) {
  option_->excludes(other.option_);
  return *this;
}
Option& Option::needs(const Option& other) {
  option_->needs(other.option_);
  return *this;
}
bool Option::given() const { return option_->count() > 0; }

Command Command::add_command(const std::string& name, const std::string& description,
                             const std::string& example) {
  CLI::App* command = app_->add_subcommand(name, description);
  command->footer(kExample + example);
  return Command(command);
}
Command Command::add_group(const std::string& name, const std::string& description,
                           const std::string& example) {
  const Command group = add_command(name, description, example);
  group.app_->require_subcommand(1);
  return group;
}

Option Command::option(const std::string& name, std::string& target, const std::string& help) {
  return Option(app_->add_option(name, target, help));
}
Option Command::option(const std::string& name, std::filesystem::path& target, const std::string& help) {
  return Option(app_->add_option(name, target, help));
}
Option Command::option(const std::string& name, int& target, const std::string& help) {
  return Option(app_->add_option(name, target, help));
}
Option Command::option(const std::string& name, uint64_t& target, const std::string& help) {
  return Option(app_->add_option(name, target, help));
}
Option Command::option(const std::string& name, float& target, const std::string& help) {
  return Option(app_->add_option(name, target, help));
}
Option Command::option(const std::string& name, double& target, const std::string& help) {
  return Option(app_->add_option(name, target, help));
}
Option Command::option(const std::string& name, std::vector<std::string>& target, const std::string& help) {
  return Option(app_->add_option(name, target, help));
}
Option Command::option(const std::string& name, std::vector<std::filesystem::path>& target,
                       const std::string& help) {
  return Option(app_->add_option(name, target, help));
}
Option Command::option(const std::string& name, std::vector<uint64_t>& target, const std::string& help) {
  return Option(app_->add_option(name, target, help));
}
Option Command::option(const std::string& name, std::function<void(const std::string&)> take,
                       const std::string& help) {
  return Option(app_->add_option_function<std::string>(name, std::move(take), help));
}
Option Command::flag(const std::string& name, bool& target, const std::string& help) {
  return Option(app_->add_flag(name, target, help));
}
Option Command::flag(const std::string& name, std::function<void()> take, const std::string& help) {
  return Option(app_->add_flag_callback(name, std::move(take), help));
}

void Command::runs(std::function<void()> work) { app_->callback(std::move(work)); }

bool Command::given(const std::string& name) const { return app_->count(name) > 0; }
void Command::only_with(std::initializer_list<const char*> flags, bool there, const std::string& what) const {
  for (const char* flag : flags) {
    if (!there && given(flag)) usage_error(std::string(flag) + " goes with " + what);
  }
}

CommandLine::CommandLine(const std::string& description, const std::string& version,
                         const std::string& example)
    : app_(std::make_unique<CLI::App>(description, "fathom")) {
  app_->require_subcommand(1);
  app_->set_version_flag("--version", version);
  app_->footer(kExample + example);
}

CommandLine::~CommandLine() = default;

Command CommandLine::root() { return Command(app_.get()); }

void CommandLine::run(const Arguments& arguments) {
  refuse_unclear_values(*app_);
  const std::string path = require_known_command(*app_, arguments);
  try {
    app_->parse(Arguments(arguments.rbegin(), arguments.rend()));  // as the library wants them
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() != 0) usage_error(e.what(), "see " + path + " --help");
    app_->exit(e);  // prints the help or the version that was asked for
  }
}

}  // namespace fathom::cli
