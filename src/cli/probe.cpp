// fathom probe: which layers of a model carry weight, and why the others do not.

#include <chrono>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_loading.h"
#include "cli/text_input.h"
#include "core/error.h"
#include "probe/diagnosis.h"
#include "report/table.h"

namespace fathom::cli {
namespace {

using nlohmann::json;

struct Options {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model, level = "full", dtype = "fp32";
  std::vector<std::string> metrics;
  TextInput input;
  DiagnosisOptions diagnosis;
};

struct Column {
  const char* key;
  const char* title;
};
constexpr Column kColumns[] = {{"variance", "variance"},      {"block_influence", "influence"},
                               {"angular_distance", "angle"}, {"attn_contribution", "attention"},
                               {"mlp_contribution", "mlp"},   {"identity_deviation", "from identity"},
                               {"grad_norm", "gradient"},     {"lens_loss", "lens loss"},
                               {"usefulness", "useful"},      {"delta_loss", "cost of removal"}};

void print_table(const json& result) {
  std::vector<TableColumn> columns{{"layer"}};
  std::vector<Column> shown;
  for (const Column& column : kColumns) {
    if (!result["per_layer"][0].contains(column.key)) continue;
    shown.push_back(column);
    columns.push_back({column.title});
  }
  Table table(columns);
  for (const json& layer : result["per_layer"]) {
    std::vector<std::string> row{std::to_string(layer["layer"].get<size_t>())};
    for (const Column& column : shown) {
      const json& value = layer[column.key];
      row.push_back(value.is_number() ? fmt::format("{:.4g}", value.get<double>()) : "-");
    }
    table.add_row(row);
  }
  fmt::print("{}", table.text());
}

// What is about to be done, before it is: the metrics differ by factors of a hundred in their cost.
void print_forecast(const Options& o, const ModelConfig& c, uint64_t tokens) {
  const double passes = diagnosis_passes(o.diagnosis, c.num_hidden_layers, tokens);
  const double flops = train_flops_per_token(c, 1) / 3 * static_cast<double>(tokens) * passes;
  fmt::print("{} tokens, {} metrics: about {:.1f} forward passes, {:.2g} TFLOP\n", tokens,
             o.diagnosis.metrics.size(), passes, flops / 1e12);
}

template <class W>
void probe(const Options& o) {
  LoadedModel<W> m = load_model<W>(o.model);
  const TokenSequences sequences = read_sequences(o.input, m.folder, m.config);
  uint64_t tokens = 0;
  for (const auto& sequence : sequences) tokens += sequence.size() - 1;
  print_forecast(o, m.config, tokens);
  std::unique_ptr<Gradients<Stream<W>>> gradients;
  if (o.diagnosis.metrics.contains("grad_norm"))
    gradients = std::make_unique<Gradients<Stream<W>>>(m.config, m.weights->list());
  const auto progress = make_progress();
  const auto start = std::chrono::steady_clock::now();
  json result =
      diagnose(*m.transformer, sequences, o.diagnosis, gradients.get(), m.weights->list(), *progress);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result["model"] = o.model;
  result["dtype"] = o.dtype;
  result["seq"] = o.input.seq > 0 ? o.input.seq : std::min<size_t>(m.config.max_position_embeddings, 1024);
  result["seconds"] = seconds;
  const std::vector<std::string> summary = diagnosis_summary(result);
  result["summary"] = summary;
  fmt::print("loss {:.4f}, perplexity {:.2f}, {} sequences, {}\n", result["loss"].get<double>(),
             result["perplexity"].get<double>(), sequences.size(), seconds_text(seconds));
  print_table(result);
  for (const std::string& sentence : summary) fmt::print("{}\n", sentence);
  write_result(*o.common, result);
}

}  // namespace

void add_probe(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = add_command(app, "probe", "Diagnose which layers of a model carry weight",
                            "fathom probe runs/lns --data data --tokens 16384\n"
                            "  fathom probe model.gguf --text book.txt --level quick --json probe.json",
                            o->common);
  c->add_option("MODEL", o->model, "Hugging Face folder, .gguf file or run folder")->required();
  add_text_options(*c, o->input);
  c->add_option("--level", o->level, "quick: what one forward pass gives; full: everything")
      ->capture_default_str()
      ->check(CLI::IsMember({"quick", "full"}));
  c->add_option("--metrics", o->metrics, "These alone, by their JSON keys (see docs/metrics.md)")
      ->delimiter(',');
  c->add_option("--batch", o->diagnosis.batch_size, "Sequences at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  c->add_option("--probes", o->diagnosis.probes, "Sign vectors a sequence for the identity deviation")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  c->add_option("--seed", o->diagnosis.seed, "Of the sign vectors")->capture_default_str();
  c->add_option("--permutation-tokens", o->diagnosis.permutation_tokens,
                "Tokens for the permutation score, which takes about L^2 / 3 passes")
      ->capture_default_str();
  c->add_option("--dtype", o->dtype, "fp32 or bf16")->capture_default_str();
  c->callback([o] {
    apply(*o->common);
    o->diagnosis.metrics = parse_metrics(!o->metrics.empty()   ? o->metrics
                                         : o->level == "quick" ? quick_metrics()
                                                               : diagnosis_metrics());
    with_dtype(parse_dtype(o->dtype), [&]<class W>() { probe<W>(*o); });
  });
}

}  // namespace fathom::cli
