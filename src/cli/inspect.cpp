// fathom inspect: what a model is, and which constants its norms really apply.

#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_loading.h"
#include "core/error.h"
#include "io/gguf_model.h"
#include "model/effective_constants.h"
#include "model/memory_plan.h"
#include "report/table.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model;
};

std::string norms_of(const StepPlan& p) {
  std::string text;
  if (p.norm_in) text += "in ";
  if (p.norm_out) text += "out ";
  if (p.norm_sum) text += "sum ";
  if (p.gain) text += "gain ";
  if (!text.empty()) text.pop_back();
  return text;
}

nlohmann::json architecture(const ModelConfig& c, size_t parameters) {
  return {{"parameters", parameters},
          {"layers", c.num_hidden_layers},
          {"hidden_size", c.hidden_size},
          {"intermediate_size", c.intermediate_size},
          {"heads", c.num_attention_heads},
          {"kv_heads", c.num_key_value_heads},
          {"head_dim", c.head_dim},
          {"vocab_size", c.vocab_size},
          {"context", c.max_position_embeddings},
          {"tied", c.tie_word_embeddings},
          {"norm", norm_name(c.norm.type)}};
}

void print_architecture(const ModelConfig& c, size_t parameters) {
  fmt::print("parameters     {} ({})\n", parameters, count_text(static_cast<double>(parameters)));
  fmt::print("layers         {}   hidden {}   FFN {}\n", c.num_hidden_layers, c.hidden_size,
             c.intermediate_size);
  fmt::print("heads          {} query, {} key/value, size {}{}\n", c.num_attention_heads,
             c.num_key_value_heads, c.head_dim, c.attention_bias ? ", with q, k, v biases" : "");
  fmt::print("vocabulary     {}{}\n", c.vocab_size,
             c.tie_word_embeddings ? ", head tied to the embedding" : "");
  fmt::print("context        {}{}\n", c.max_position_embeddings,
             c.sliding_window > 0 ? fmt::format(", sliding window {}", c.sliding_window) : "");
  fmt::print("normalization  {}: {}\n", norm_name(c.norm.type), norm_description(c.norm.type));
}

// Plan beside measurement, layer by layer; returns the largest difference.
double print_constants(const std::vector<LayerConstants>& constants, nlohmann::json& result) {
  Table table({{"layer"},
               {"norms", Align::kLeft},
               {"step", Align::kLeft},
               {"in scale"},
               {"measured"},
               {"out"},
               {"sum"},
               {"residual"},
               {"measured"},
               {"gain"}});
  const auto cell = [](bool there, double value) {
    return there ? fmt::format("{:.6f}", value) : std::string("-");
  };
  const auto number = [](bool there, double value) {
    return there ? nlohmann::json(value) : nlohmann::json();
  };
  double worst = 0;
  size_t position = 0;  // as commands count layers; a scheme's index is that in the model before pruning
  for (const LayerConstants& c : constants) {
    const StepPlan& p = c.configured.step;
    ++position;
    const std::string layer = position == c.configured.index
                                  ? std::to_string(position)
                                  : fmt::format("{} (was {})", position, c.configured.index);
    if (!(c.deviation <= worst)) worst = c.deviation;
    for (const bool attention : {true, false}) {
      const MeasuredStep& m = attention ? c.attn : c.mlp;
      table.add_row({attention ? layer : " ", attention ? norms_of(p) : " ", attention ? "attention" : "mlp",
                     cell(p.norm_in, p.in_scale), cell(p.norm_in, m.in_scale), cell(p.norm_out, m.out_scale),
                     cell(p.norm_sum, m.sum_scale), cell(true, p.residual), cell(true, m.residual),
                     cell(p.gain, m.gain)});
      result["constants"].push_back({{"layer", c.configured.index},
                                     {"position", position},
                                     {"step", attention ? "attention" : "mlp"},
                                     {"in_scale", number(p.norm_in, p.in_scale)},
                                     {"in_scale_measured", number(p.norm_in, m.in_scale)},
                                     {"residual", p.residual},
                                     {"residual_measured", m.residual},
                                     {"gain_measured", number(p.gain, m.gain)}});
    }
  }
  fmt::print("\nconstants in force, measured by sending random signs through each live norm:\n{}",
             table.text());
  return worst;
}

// A file that is no .gguf is a config; what plainly is none, such as weights, is told from a damaged one.
void require_config(const fs::path& file) {
  char first = 0;
  std::ifstream(file) >> first;
  if (first == '{') return;
  const bool weights = file.extension() == ".safetensors";
  fail({.what = weights ? "holds weights alone, without their config.json" : "is no config.json",
        .path = file.string(),
        .hint = weights ? "give the folder that it is in: " + fs::absolute(file).parent_path().string()
                        : "give a Hugging Face folder, a .gguf file, a run folder, or a config.json"});
}

void run(const Options& o) {
  const bool is_config_file = fs::is_regular_file(o.model) && !is_gguf(o.model);
  if (is_config_file) require_config(o.model);
  const fs::path folder = is_config_file ? fs::path(o.model) : resolve_model(o.model);
  const ModelConfig config = read_config(folder);
  const size_t parameters = parameter_count(parameter_list(config));
  fmt::print("model          {}\n", folder.string());
  print_architecture(config, parameters);
  nlohmann::json result = architecture(config, parameters);
  if (is_config_file) {
    const MemoryPlan plan =
        plan_memory<bf16>(config, 1, std::min<size_t>(config.max_position_embeddings, 1024));
    fmt::print("training       {} in bf16 with one sequence of {} tokens\n",
               bytes_text(static_cast<double>(plan.total())),
               std::min<size_t>(config.max_position_embeddings, 1024));
    write_result(*o.common, result);
    return;
  }
  OpenedModel<float> m = open_model<float>(o.model, 0);  // each layer is looked at once
  const double worst = print_constants(measure_constants(*m.transformer, *m.weights), result);
  result["largest_deviation"] = worst;
  write_result(*o.common, result);
  if (!(worst <= kConstantTolerance)) {
    fail(fmt::format("a measured constant is off by {:.2e}, more than {:.0e}", worst, kConstantTolerance),
         "the normalization scheme in config.json is not in force");
  }
}

}  // namespace

void add_inspect(Command app) {
  auto o = std::make_shared<Options>();
  Command c =
      add_command(app, "inspect", "Show a model's architecture, sizes, scheme and the constants in force",
                  "fathom inspect runs/lns", o->common);
  c.option("MODEL", o->model, "Hugging Face folder, .gguf file, run folder, or a config.json alone")
      .required();
  c.runs([o] {
    apply(*o->common);
    run(*o);
  });
}

}  // namespace fathom::cli
