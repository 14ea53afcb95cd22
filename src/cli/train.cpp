// fathom train: settings from flags and recipe, signals, the exit code.

#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/stop_signals.h"
#include "core/error.h"
#include "train/recipe.h"
#include "train/train.h"

namespace fathom::cli {
namespace {

struct Options {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::map<std::string, std::string> given;  ///< settings that stand on the command line
  std::string recipe;
  bool resume = false;
};

nlohmann::json result_json(const TrainResult& r) {
  nlohmann::json json = {{"step", r.step},       {"steps", r.steps},
                         {"tokens", r.tokens},   {"parameters", r.parameters},
                         {"stopped", r.stopped}, {"checkpoint", r.checkpoint.string()}};
  if (r.validation) {
    json["val_loss"] = r.validation->mean();
    json["val_ppl"] = r.validation->perplexity();
    json["val_loss_stderr"] = r.validation->standard_error();
  }
  return json;
}

void run(const Options& o) {
  const TrainSettings settings = gather_settings(o.given, o.recipe, o.resume);
  const std::unique_ptr<Progress> progress = make_progress();
  TrainResult result;
  {
    const StopSignals signals;
    result = train(settings, *progress, &StopSignals::asked());
  }
  write_result(*o.common, result_json(result));
  if (result.stopped) {
    // Not done, hence not 0: a script must not go on as if the run had ended.
    fail(fmt::format("stopped by a signal after step {} of {}; saved {}", result.step, result.steps,
                     result.checkpoint.string()),
         "continue with: fathom train --resume --out " + settings.out);
  }
  fmt::print("trained {} steps, {} tokens; saved {}\n", result.steps,
             count_text(static_cast<double>(result.tokens)), result.checkpoint.string());
  if (result.validation) {
    fmt::print("validation loss {:.4f} +- {:.4f} (standard error over {} sequences), perplexity {:.3f}\n",
               result.validation->mean(), result.validation->standard_error(), result.validation->nll.size(),
               result.validation->perplexity());
  }
}

// A setting's default as --help shows it: what is left open is told by the help text.
std::string default_text(const Setting& row) {
  const std::string text = text_of(TrainSettings{}, row);
  return row.is_switch() || text == "0" ? "" : text;
}

void add_setting(CLI::App& command, const Setting& row, const std::shared_ptr<Options>& o) {
  const std::string name(row.name), help(row.help);
  if (row.is_switch()) {
    command.add_flag_callback(
        row.flag(), [o, name] { o->given[name] = "true"; }, help);
    return;
  }
  CLI::Option* option = command.add_option_function<std::string>(
      row.flag(), [o, name](const std::string& text) { o->given[name] = text; }, help);
  const bool is_text = std::holds_alternative<std::string TrainSettings::*>(row.member);
  option->type_name(is_text ? "TEXT" : "N")->default_str(default_text(row));
}

}  // namespace

void add_train(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c =
      add_command(app, "train", "Train a model from scratch (or from a checkpoint) on token shards",
                  "fathom train --model configs/deep-10m.json --norm lns --data data --out runs/lns "
                  "--tokens 20M\n  fathom train --resume --out runs/lns",
                  o->common);
  c->add_option("--config", o->recipe, "A recipe: lines `flag_without_dashes = value`; flags override it")
      ->type_name("FILE");
  c->add_flag("--resume", o->resume, "Continue the run in --out from its last checkpoint");
  for (const Setting& row : settings_table()) add_setting(*c, row, o);
  c->callback([o] {
    apply(*o->common);
    run(*o);
  });
}

}  // namespace fathom::cli
