#pragma once
// What every command shares: registration, the flags --threads and --json, the progress bar, the way results
// leave. One file a command; src/cli is the only folder that prints or exits.

#include <filesystem>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include "core/format.h"
#include "core/progress.h"

namespace fathom::cli {

/// Flags that every command has.
struct Common {
  size_t threads = 0;
  std::string json_path;
};

/// Adds a subcommand with --threads, --json and an example in its help. `options` outlives the parse.
CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& description,
                      const std::string& example, const std::shared_ptr<Common>& common);

/// Applies --threads and the like; call first in a command's callback. Errors: Error where --json's file
/// can't be written, or FATHOM_ISA is none: before the work, not after.
void apply(const Common& common);

/// Errors: Error where no file `path` can be made: a result that could not be kept is not worth its work.
void require_writable(const std::filesystem::path& path);

/// Writes `result` to --json's file where one was given. Errors: Error where it can't be written.
void write_result(const Common& common, const nlohmann::json& result);

/// A bar with rate and time left on a terminal, plain lines (at most one every few seconds) otherwise, on
/// stderr.
std::unique_ptr<Progress> make_progress();

/// Registers every command, in the order of --help.
void add_commands(CLI::App& app);

// Each is defined in src/cli/<name>.cpp and registers its subcommand.
void add_data(CLI::App& app);
void add_tokenizer(CLI::App& app);
void add_train(CLI::App& app);
void add_finetune(CLI::App& app);
void add_merge(CLI::App& app);
void add_compare(CLI::App& app);
void add_inspect(CLI::App& app);
void add_verify(CLI::App& app);
void add_generate(CLI::App& app);
void add_probe(CLI::App& app);
void add_prune(CLI::App& app);
void add_eval(CLI::App& app);
void add_export(CLI::App& app);
void add_dump(CLI::App& app);
void add_selftest(CLI::App& app);
void add_bench(CLI::App& app);
void add_logits(CLI::App& app);

}  // namespace fathom::cli
