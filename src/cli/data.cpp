// fathom data: text to token shards.

#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_loading.h"
#include "core/log.h"
#include "text/dataset.h"

namespace fathom::cli {
namespace {

struct Options {
  BuildDataOptions build;
  std::string tokenizer;
};

nlohmann::ordered_json split_json(const SplitInfo& split) {
  return {{"tokens", split.tokens},
          {"documents", split.documents},
          {"bytes", split.bytes},
          {"shards", split.files.size()}};
}

void print_split(const char* name, const SplitInfo& split) {
  const double bytes_per_token =
      split.tokens > 0 ? static_cast<double>(split.bytes) / static_cast<double>(split.tokens) : 0;
  fmt::print("{:<10} {:>9} tokens  {:>9} documents  {:>11} of text  {:.2f} bytes a token\n", name,
             count_text(static_cast<double>(split.tokens)), count_text(static_cast<double>(split.documents)),
             bytes_text(static_cast<double>(split.bytes)), bytes_per_token);
}

void run(const Options& options, const Common& common) {
  apply(common);
  const std::filesystem::path source(options.tokenizer);
  const bool is_run = std::filesystem::is_directory(source / "checkpoints");
  const Tokenizer tokenizer = load_tokenizer(is_run ? resolve_model(source) : source);
  const std::unique_ptr<Progress> progress = make_progress();
  const DataInfo info = build_data(options.build, tokenizer, *progress);
  print_split("train", info.train);
  print_split("validation", info.valid);
  if (info.valid.documents == 0) {
    log_warning(fmt::format(
        "no document fell into the validation split ({} documents, --valid-fraction {}); training can't "
        "be evaluated: give --valid-input, a larger fraction, or more and smaller documents",
        info.train.documents, info.valid_fraction));
  }
  fmt::print("wrote {}\n", options.build.out.string());
  write_result(common, {{"out", options.build.out.string()},
                        {"vocab_size", info.vocab_size},
                        {"tokenizer_fingerprint", fingerprint_text(info.tokenizer_fingerprint)},
                        {"train", split_json(info.train)},
                        {"valid", split_json(info.valid)}});
}

}  // namespace

void add_data(Command app) {
  const auto options = std::make_shared<Options>();
  const auto common = std::make_shared<Common>();
  Command command =
      add_command(app, "data", "Turn text into token shards for training",
                  "fathom data --input books/ more.jsonl.zst --tokenizer tokenizer/ --out data/", common);
  command
      .option("--input", options->build.inputs,
              "Files or folders of text: .txt (a document each), .jsonl (a document a line, field "
              "\"text\"), and .gz or "
              ".zst of either")
      .required()
      .type_name("PATH...");
  command
      .option("--tokenizer", options->tokenizer,
              "A folder with a tokenizer, a tokenizer.model or a tokenizer.json; or a model: its "
              "folder, .gguf file "
              "or run folder")
      .required()
      .type_name("PATH");
  command.option("--out", options->build.out, "The data folder to make").required().type_name("DIR");
  command
      .option("--valid-fraction", options->build.valid_fraction, "Share of the documents kept for validation")
      .shows_default()
      .range(0.0, 1.0);
  command
      .option("--valid-input", options->build.valid_inputs,
              "Files or folders that are the validation split, instead of a share of --input")
      .type_name("PATH...");
  command.option("--seed", options->build.seed, "Decides which documents are kept for validation")
      .shows_default();
  command.runs([options, common] { run(*options, *common); });
}

}  // namespace fathom::cli
