// fathom compare: several runs and diagnoses in tables, and as one page.

#include <filesystem>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "core/file.h"
#include "report/compare.h"
#include "report/compare_page.h"
#include "report/compare_results.h"

namespace fathom::cli {
namespace {

struct CompareOptions {
  std::vector<std::filesystem::path> runs;
  std::string html_path;
};

void run_compare(const CompareOptions& options, const Common& common) {
  apply(common);
  if (!options.html_path.empty()) require_writable(options.html_path);
  const RunComparison comparison = compare_runs(options.runs);
  if (!comparison.runs.empty()) fmt::print("{}", summary_table(comparison).text());
  if (!comparison.runs.empty() && !comparison.probes.empty()) fmt::print("\n");
  if (!comparison.probes.empty()) fmt::print("{}", probe_table(comparison).text());
  const std::vector<std::string> sentences = findings(comparison);
  if (!sentences.empty()) fmt::print("\n");
  for (const std::string& sentence : sentences) fmt::print("{}\n", sentence);
  write_result(common, comparison_json(comparison));
  if (options.html_path.empty()) return;
  write_text_file(options.html_path, comparison_page(comparison));
  fmt::print("\nThe page is in {}\n", options.html_path);
}

}  // namespace

void add_compare(Command app) {
  const auto common = std::make_shared<Common>();
  const auto options = std::make_shared<CompareOptions>();
  Command command = add_command(
      app, "compare", "Set runs and diagnoses side by side: tables, paired differences, and a page of curves",
      "fathom compare runs/pre runs/lns --html compare.html\n"
      "  fathom compare a-probe.json a-sweep.json b-probe.json --html compare.html",
      common);
  command
      .option("runs", options->runs,
              "Run directories (the first is what the others are compared with), and files of fathom "
              "probe --json "
              "and fathom prune --sweep --json")
      .required()
      .type_name("RUN|FILE");
  command.option("--html", options->html_path, "Write one self-contained page to this file")
      .type_name("FILE");
  command.runs([common, options] { run_compare(*options, *common); });
}

}  // namespace fathom::cli
