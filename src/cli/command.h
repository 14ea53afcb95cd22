#pragma once
// What every command shares: registration, the flags --threads and --json, the progress bar, the way results
// leave. One file a command; src/cli is the only folder that prints or exits.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "cli/command_line.h"
#include "core/format.h"
#include "core/progress.h"

namespace fathom::cli {

/// Flags that every command has.
struct Common {
  size_t threads = 0;
  std::string json_path;
};

/// Adds a command with --threads, --json and an example in its help. The callbacks of a command share its
/// options, `common` among them, which so live as long as the command line.
Command add_command(Command app, const std::string& name, const std::string& description,
                    const std::string& example, const std::shared_ptr<Common>& common);

/// Applies --threads and the like; call first in a command's callback. Errors: Error where --json's file
/// can't be written, or FATHOM_ISA is none: before the work, not after.
void apply(const Common& common);

/// Errors: Error where no file `path` can be made: a result that could not be kept is not worth its work.
void require_writable(const std::filesystem::path& path);

/// Where a command keeps how far it has come: beside --json's file, under its name and `suffix`. Empty where
/// there is no such file, nor will be: no --json, or one that is a pipe or a device.
std::filesystem::path path_beside_result(const Common& common, const std::string& suffix);

/// Writes `result` to --json's file where one was given. Errors: Error where it can't be written.
void write_result(const Common& common, const nlohmann::json& result);

/// A bar with rate and time left on a terminal, plain lines (at most one every few seconds) otherwise, on
/// stderr.
std::unique_ptr<Progress> make_progress();

/// The same for what is done in a moment with most models, such as loading one: nothing is drawn where it
/// ends before a first line is due.
std::unique_ptr<Progress> make_progress_if_long();

/// Runs `fathom <arguments>`. Errors: those of CommandLine::run.
void run_command_line(const std::vector<std::string>& arguments, const std::string& version);

// Each is defined in src/cli/<name>.cpp and registers its subcommand.
void add_data(Command app);
void add_tokenizer(Command app);
void add_train(Command app);
void add_finetune(Command app);
void add_merge(Command app);
void add_compare(Command app);
void add_inspect(Command app);
void add_verify(Command app);
void add_generate(Command app);
void add_probe(Command app);
void add_prune(Command app);
void add_eval(Command app);
void add_export(Command app);
void add_dump(Command app);
void add_selftest(Command app);
void add_bench(Command app);
void add_logits(Command app);

}  // namespace fathom::cli
