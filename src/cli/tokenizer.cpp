// fathom tokenizer train: text to a vocabulary.

#include <memory>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "core/error.h"
#include "core/temporary_path.h"
#include "text/tokenizer_train.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<fs::path> inputs;
  fs::path out;
  uint64_t sample_mib = 64;
  TokenizerTrainOptions train;
};

/// --out FILE (a name that ends in .model) asks for tokenizer.model alone, under that name; anything else is
/// a folder.
bool is_model_file(const fs::path& out) { return out.extension() == ".model"; }

/// Errors: Error, before any work, where `out` is taken or can't be made. Makes nothing but the folders above
/// it.
void prepare_out(const fs::path& out) {
  if (is_model_file(out) ? fs::exists(out) : fs::exists(out / "tokenizer.model"))
    refuse_taken(out, "a tokenizer stands here already", "choose another --out, or remove it first");
  require_free(out);
  const fs::path above = fs::absolute(out / "").parent_path().parent_path();
  std::error_code error;
  fs::create_directories(above, error);
  if (error)
    fail("cannot create the folder " + above.string() + ": " + error.message(), "choose another --out");
  require_writable(above / "tokenizer.model");
}

void run_train(Options& options, const Common& common) {
  apply(common);
  options.train.sample_bytes = options.sample_mib << 20;
  prepare_out(options.out);
  CorpusReader corpus(options.inputs);
  const std::unique_ptr<Progress> progress = make_progress();
  const TokenizerTrainResult result = train_tokenizer(corpus, options.train, *progress);
  if (is_model_file(options.out)) {
    result.tokenizer.save_model(options.out);
  } else {
    TemporaryPath folder(options.out);
    fs::create_directories(folder.path());
    result.tokenizer.save(folder.path());
    folder.commit();
  }
  fmt::print("{} pieces from {} lines ({}) of {} documents ({})\nwrote {}\n", result.tokenizer.vocab_size(),
             count_text(static_cast<double>(result.sample_lines)),
             bytes_text(static_cast<double>(result.sample_bytes)),
             count_text(static_cast<double>(result.documents)), bytes_text(static_cast<double>(result.bytes)),
             options.out.string());
  write_result(common, {{"out", options.out.string()},
                        {"vocab_size", result.tokenizer.vocab_size()},
                        {"tokenizer_fingerprint", fingerprint_text(result.tokenizer.fingerprint())},
                        {"documents", result.documents},
                        {"bytes", result.bytes},
                        {"sample_lines", result.sample_lines},
                        {"sample_bytes", result.sample_bytes}});
}

}  // namespace

void add_tokenizer(Command app) {
  const auto options = std::make_shared<Options>();
  const auto common = std::make_shared<Common>();
  const std::string example = "fathom tokenizer train --input books/ --vocab 32000 --out tokenizer/";
  const Command group = app.add_group("tokenizer", "Make a tokenizer", example);
  Command train =
      add_command(group, "train", "Learn a vocabulary from text (byte-pair encoding with byte fallback)",
                  example, common);
  train.option("--input", options->inputs, "Files or folders of text, as `fathom data` reads them")
      .required()
      .type_name("PATH...");
  train
      .option("--vocab", options->train.vocab_size,
              "Number of ids, with the 259 for bytes and special tokens")
      .required()
      .range(size_t{260}, size_t{1} << 20);
  train.option("--out", options->out, "A folder for all tokenizer files, or a file name that ends in .model")
      .required()
      .type_name("FILE|DIR");
  train
      .option("--sample-mib", options->sample_mib,
              "Learn from a random sample of lines of at most this many MiB")
      .shows_default()
      .range(uint64_t{1}, uint64_t{1024});
  train.option("--seed", options->train.seed, "Decides the sample").shows_default();
  train
      .option("--character-coverage", options->train.character_coverage,
              "Share of the characters of the text that get an id; the rare rest is written as bytes")
      .shows_default()
      .range(0.9, 1.0);
  train.runs([options, common] { run_train(*options, *common); });
}

}  // namespace fathom::cli
