#pragma once
// The face of the library that parses command lines (CLI11): what a command declares itself and its flags
// with. command_line.cpp alone includes that library: its one header takes g++ 4 s in every file.
//
// Beyond the library: a command that does not exist is answered with the nearest that does; empty values,
// numbers below zero where there are none, "nan" and "inf" are refused; whole numbers may be written
// 16k, 1.5M and 2.2B.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace fathom::cli {

/// A flag or an argument of a command, to be described further: a handle, which lives as long as the command
/// line. What the command line says against a description is an Error (usage) of CommandLine::run.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option& required();
  /// --help shows the value that the target has now, or `text`.
  Option& shows_default();
  Option& shows_default(const std::string& text);
  /// What --help calls the value: "FILE" instead of the type.
  Option& type_name(const std::string& name);

  /// Values that are taken: from `low` to `high`, above 0, one of a list, folders that are there.
  Option& range(int low, int high);
  Option& range(uint64_t low, uint64_t high);
  Option& range(double low, double high);
  Option& positive();
  Option& one_of(const std::vector<std::string>& names);
  Option& existing_folder();
  /// Of a list: commas part its values as spaces do.
  Option& comma_list();
  /// Of a number of bytes: "4GiB".
  Option& byte_size();

  Option& excludes(const Option& other);
  Option& needs(const Option& other);

  /// Whether it stands on the command line.
  bool given() const;

 private:
  CLI::Option* option_;
};

/// A command, or a group of commands: a handle, which lives as long as the command line.
class Command {
 public:
  explicit Command(CLI::App* app) : app_(app) {}

  /// `example` ends the help: one command line, or several.
  Command add_command(const std::string& name, const std::string& description, const std::string& example);
  /// A command that does nothing but hold others.
  Command add_group(const std::string& name, const std::string& description, const std::string& example);

  /// A value: a flag "--name", or an argument "NAME" by its place. `target` is written while the command line
  /// is read, and outlives that.
  Option option(const std::string& name, std::string& target, const std::string& help);
  Option option(const std::string& name, std::filesystem::path& target, const std::string& help);
  Option option(const std::string& name, int& target, const std::string& help);
  Option option(const std::string& name, uint64_t& target, const std::string& help);
  Option option(const std::string& name, float& target, const std::string& help);
  Option option(const std::string& name, double& target, const std::string& help);
  Option option(const std::string& name, std::vector<std::string>& target, const std::string& help);
  Option option(const std::string& name, std::vector<std::filesystem::path>& target, const std::string& help);
  Option option(const std::string& name, std::vector<uint64_t>& target, const std::string& help);
  Option option(const std::string& name, std::function<void(const std::string&)> take,
                const std::string& help);

  /// A flag without a value.
  Option flag(const std::string& name, bool& target, const std::string& help);
  Option flag(const std::string& name, std::function<void()> take, const std::string& help);

  /// What the command does, once its line has been read.
  void runs(std::function<void()> work);

  /// Whether the flag `name`, which the command has, stands on the command line.
  bool given(const std::string& name) const;
  /// Refuses a flag that would do nothing. Errors: Error (usage), "--x goes with `what`", where one of
  /// `flags` stands on the command line and what it goes with is not `there`.
  void only_with(std::initializer_list<const char*> flags, bool there, const std::string& what) const;

 private:
  CLI::App* app_;
};

/// All commands, and the line that names one of them.
class CommandLine {
 public:
  CommandLine(const std::string& description, const std::string& version, const std::string& example);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  Command root();

  /// Reads `arguments` and runs the command that they name, or prints the help or the version. Once in a
  /// life. Errors: Error (usage) where the line is wrong; what the command throws.
  void run(const std::vector<std::string>& arguments);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace fathom::cli
