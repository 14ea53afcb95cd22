#include "cli/training.h"

#include <cstdlib>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/stderr_text.h"
#include "cli/stop_signals.h"
#include "core/error.h"

namespace fathom::cli {
namespace {

nlohmann::json result_json(const TrainResult& r) {
  nlohmann::json json = {{"step", r.step},
                         {"steps", r.steps},
                         {"tokens", r.tokens},
                         {"parameters", r.parameters},
                         {"trained_parameters", r.trained_parameters},
                         {"stopped", r.stopped},
                         {"checkpoint", r.checkpoint.string()}};
  if (r.validation) {
    json["val_loss"] = r.validation->mean();
    json["val_ppl"] = r.validation->perplexity();
    json["val_loss_stderr"] = r.validation->standard_error();
  }
  return json;
}

// A setting's default as --help shows it: what is left open is told by the help text.
std::string default_text(const Setting& row, const TrainSettings& defaults) {
  const std::string text = text_of(defaults, row);
  return row.is_switch() || text == "0" ? "" : text;
}

void add_setting(Command command, const Setting& row, const std::shared_ptr<TrainingOptions>& o,
                 const TrainSettings& defaults) {
  const std::string name(row.name), help(row.help);
  if (row.is_switch()) {
    command.flag(
        row.flag(), [o, name] { o->given[name] = "true"; }, help);
    return;
  }
  const auto give = [o, name, flag = row.flag()](const std::string& text) {
    // Inside, 0 stands for what is left open, which nobody means who writes it.
    const bool open_at_zero =
        name == "steps" || name == "tokens" || name == "epochs" || name == "layerscale_init";
    if (open_at_zero && std::strtod(text.c_str(), nullptr) == 0 && text.find_first_not_of("0.") == text.npos)
      usage_error(flag + " is 0", "give a number above 0, or leave it out");
    o->given[name] = text;
  };
  Option option = command.option(row.flag(), give, help);
  const bool is_text = std::holds_alternative<std::string TrainSettings::*>(row.member);
  option.type_name(is_text ? "TEXT" : "N").shows_default(default_text(row, defaults));
}

}  // namespace

void add_training_options(Command command, const std::shared_ptr<TrainingOptions>& options,
                          SettingScope scope, const TrainSettings& defaults) {
  command
      .option("--config", options->recipe, "A recipe: lines `flag_without_dashes = value`; flags override it")
      .type_name("FILE");
  command.flag("--resume", options->resume, "Continue the run in --out from its last checkpoint");
  for (const Setting& row : settings_table()) {
    if (row.scope == SettingScope::kBoth || row.scope == scope) add_setting(command, row, options, defaults);
  }
}

void run_training(const TrainingOptions& o, const TrainSettings& settings, const std::string& command,
                  const std::function<TrainResult(Progress&, const std::atomic<bool>*)>& run) {
  const std::unique_ptr<Progress> progress = make_progress();
  TrainResult result;
  {
    const StopSignals signals;
    result = run(*progress, &StopSignals::asked());
  }
  write_result(*o.common, result_json(result));
  if (result.stopped) {
    // Not done, hence not 0: a script must not go on as if the run had ended.
    fail(fmt::format("stopped by a signal after step {} of {}; saved {}", result.step, result.steps,
                     result.checkpoint.string()),
         "continue with: fathom " + command + " --resume --out " + settings.out);
  }
  fmt::print("trained {} steps, {} tokens; saved {}\n", result.steps,
             count_text(static_cast<double>(result.tokens)), result.checkpoint.string());
  if (result.validation) {
    fmt::print("validation loss {:.4f} +- {} (standard error over {} sequences), perplexity {:.3f}\n",
               result.validation->mean(), stderr_text(result.validation->standard_error()),
               result.validation->nll.size(), result.validation->perplexity());
  }
}

}  // namespace fathom::cli
