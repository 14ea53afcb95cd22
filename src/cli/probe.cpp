// fathom probe: which layers of a model carry weight, and why the others do not.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_loading.h"
#include "cli/probe_results.h"
#include "cli/stop_signals.h"
#include "cli/text_input.h"
#include "core/error.h"
#include "core/file.h"
#include "io/stored_parameters.h"
#include "probe/diagnosis.h"
#include "probe/diagnosis_forecast.h"
#include "probe/sequence_batches.h"
#include "probe/sweep.h"
#include "probe/usefulness.h"
#include "report/table.h"
#include "train/machine.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Options {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model, level = "full", dtype = "fp32", resume_dir, html, sweep, write_sweep;
  uint64_t memory = 0;
  bool exact_identity = false;
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

// JSON has no form for what is not finite: null.
std::string number_of(const json& value, int digits) {
  return value.is_number() ? fmt::format("{:.{}f}", value.get<double>(), digits) : "not finite";
}

size_t longest(const TokenSequences& sequences) {
  size_t T = 1;
  for (const auto& sequence : sequences) T = std::max(T, sequence.size() - 1);
  return T;
}

// How the memory is shared out: the streams of the text first, since a text that takes several passes has the
// model read for each, then as much of the weights as there is room for.
struct MemoryShare {
  size_t budget = 0, weights = 0, pass_rows = 0, rows = 0;
  size_t spare = 0;  // for least squares, or gradients over several passes
  DiagnosisMemory diagnosis;
};

// Of a diagnosis that goes on `kept` are the cuts of its text, which it keeps.
template <class W>
MemoryShare share_memory(const Options& o, const ModelConfig& config, const TokenSequences& sequences,
                         std::optional<size_t> kept) {
  const size_t T = longest(sequences), all_rows = SequenceBatches::by_rows(sequences, 0).most_rows();
  const size_t least = StreamedWeights<W>::least_bytes(config);
  MemoryShare m;
  m.diagnosis = diagnosis_memory<W>(o.diagnosis, config, T);
  m.budget = granted_memory(o.memory);
  const size_t needed = least + m.diagnosis.bytes(T);
  if (o.memory > 0 && m.budget < needed) {
    usage_error(fmt::format("--memory {} is too little: two layers or the head take {}, the rest {}",
                            bytes_text(static_cast<double>(o.memory)), bytes_text(static_cast<double>(least)),
                            bytes_text(static_cast<double>(m.diagnosis.bytes(T)))),
                o.diagnosis.spill.empty() ? "try a smaller --seq or --batch, or --spill a folder"
                                          : "try a smaller --seq or --batch");
  }
  const size_t per_row = m.diagnosis.per_row - m.diagnosis.spilled_per_row;
  const auto cut = [&] {
    const size_t streams = m.budget > needed + m.spare ? (m.budget - needed - m.spare) / per_row : 0;
    m.pass_rows = kept.value_or(T + streams >= all_rows ? 0 : T + streams);
    const SequenceBatches batches = SequenceBatches::by_rows(sequences, m.pass_rows);
    m.rows = batches.most_rows();
    return batches.count();
  };
  cut();
  // What is large and finds room beside the streams of one sequence gets it before those of more; beside
  // those of a pass whose cuts are kept.
  const size_t streams_and_least = kept ? least + m.diagnosis.bytes(m.rows) : needed;
  const auto spare_for = [&](size_t bytes) {
    if (streams_and_least + bytes <= m.budget) m.spare = std::max(m.spare, bytes);
  };
  const bool fits = has_tokens_to_fit(sequences, config.hidden_size);
  if (fits) spare_for(m.diagnosis.usefulness);
  if (cut() > 1) {
    if (fits) spare_for(m.diagnosis.usefulness_in_passes);
    spare_for(m.diagnosis.gradients_in_passes);
    cut();
  }
  const size_t taken = m.diagnosis.bytes(m.rows) + m.spare;
  if (kept && o.memory > 0 && m.budget < least + taken) {
    const auto needs = static_cast<double>(least + taken);
    usage_error(
        fmt::format("--memory {} is too little to go on from {}, which was begun with {} tokens a pass",
                    bytes_text(static_cast<double>(o.memory)), o.diagnosis.state.string(), m.rows),
        fmt::format("give {} ({:.0f} bytes), or delete that file to begin anew", bytes_text(needs), needs));
  }
  m.weights = m.budget > taken ? m.budget - taken : 0;
  return m;
}

std::string parts_text(const json& seconds_by_part) {
  std::string text;
  for (const auto& [name, seconds] : seconds_by_part.items())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, seconds_text(seconds.get<double>()));
  return text;
}

// What is about to be done, before it is: the metrics differ by factors of a hundred in their cost.
template <class W>
json print_forecast(const Options& o, const OpenedModel<W>& m, const TokenSequences& sequences,
                    uint64_t tokens, const MemoryShare& memory) {
  const DiagnosisCost cost = diagnosis_cost(o.diagnosis, m.config, tokens, longest(sequences));
  json forecast = forecast_json(cost, measured_flops<W>(m.config));
  const size_t weights = m.weights->planned_bytes(),
               rest = memory.diagnosis.bytes(memory.rows) + memory.spare;
  const size_t spilled = memory.rows * memory.diagnosis.spilled_per_row;
  forecast["memory_bytes"] = weights + rest;
  forecast["weights_bytes"] = weights;
  if (spilled > 0) forecast["spilled_bytes"] = spilled;
  fmt::print("{} tokens in {} sequences, {} metrics: {:.1f} forward passes, {:.3g} TFLOP\n", tokens,
             sequences.size(), o.diagnosis.metrics.size(), cost.passes(), cost.total() / 1e12);
  fmt::print("forecast: {} at {:.0f} GFLOP/s ({})\n", seconds_text(forecast["seconds"].get<double>()),
             forecast["gflops"].get<double>(), parts_text(forecast["seconds_by_part"]));
  const size_t L = m.config.num_hidden_layers, kept = m.weights->layers_kept();
  fmt::print(
      "memory: {}, of which weights {} ({}){}{}\n", bytes_text(static_cast<double>(weights + rest)),
      bytes_text(static_cast<double>(weights)),
      kept == L ? "all layers" : fmt::format("{} of {} layers stay, the others are read as needed", kept, L),
      memory.pass_rows > 0 ? fmt::format("; {} tokens a pass", memory.rows) : "",
      spilled > 0 ? "; " + bytes_text(static_cast<double>(spilled)) + " in " + o.diagnosis.spill.string()
                  : "");
  std::fflush(stdout);
  return forecast;
}

// Where a diagnosis keeps how far it has come: in --resume-dir, or beside its result.
fs::path state_path(const Options& o) {
  if (!o.resume_dir.empty()) {
    std::error_code error;
    fs::create_directories(o.resume_dir, error);
    if (error) fail("cannot make the folder " + o.resume_dir + ": " + error.message());
    return fs::path(o.resume_dir) / "probe.state";
  }
  return path_beside_result(*o.common, ".state");
}

// Exact takes as many products as a sequence has numbers, of each layer and sequence.
void check_exact(const ModelConfig& config, const TokenSequences& sequences) {
  constexpr size_t kMostNumbers = 1 << 16;
  const size_t T = longest(sequences), C = config.hidden_size;
  if (T * C <= kMostNumbers) return;
  usage_error(fmt::format("--exact-identity takes a vector-Jacobian product for each of the {} numbers of a "
                          "sequence ({} tokens x {}); the most is {}",
                          T * C, T, C, kMostNumbers),
              C <= kMostNumbers
                  ? fmt::format("give --seq {} and few --tokens, or leave the flag out: the estimate "
                                "states its error",
                                kMostNumbers / C)
                  : "leave the flag out: the estimate states its error");
}

// Each flag goes with what reads it; one that would do nothing is refused.
void check_flags(const Options& o, const Command& command) {
  const auto computes = [&](const char* metric) { return o.diagnosis.metrics.contains(metric); };
  command.only_with({"--sweep"}, !o.html.empty(), "--html");
  command.only_with({"--level"}, o.metrics.empty(), "no --metrics, which name those to compute");
  command.only_with({"--probes", "--exact-identity"}, computes("identity_deviation"),
                    "identity_deviation; leave --level and --metrics out, or add it to --metrics");
  command.only_with({"--permutation-tokens"}, computes("permutation_score"),
                    "permutation_score; leave --level and --metrics out, or add it to --metrics");
  command.only_with({"--lens-tokens"}, computes("lens_loss") || computes("lens_kl") || computes("lens_top5"),
                    "lens_loss, lens_kl and lens_top5; leave --metrics out, or add one of them");
  command.only_with(
      {"--write-sweep"}, computes("effective_depth"),
      "effective_depth, which removes each layer; leave --level and --metrics out, or add it to "
      "--metrics");
}

template <class W>
void probe(const Options& given) {
  Options o = given;
  const fs::path folder = resolve_model(o.model);
  const ModelConfig config = read_config(folder);
  json sweep;  // read before the work, so that a wrong file does not cost it
  if (!o.sweep.empty()) sweep = read_sweep_file(o.sweep, config.num_hidden_layers);
  const TokenSequences sequences = read_sequences(o.input, folder, config);
  uint64_t tokens = 0;
  for (const auto& sequence : sequences) tokens += sequence.size() - 1;
  if (o.exact_identity) {
    check_exact(config, sequences);
    o.diagnosis.probes = 0;
  }
  o.diagnosis.state = state_path(o);
  for (const std::string& path : {o.html, o.write_sweep}) {
    if (!path.empty()) require_writable(path);
  }
  o.diagnosis.model_identity = model_identity(folder, config);
  const MemoryShare memory = share_memory<W>(o, config, sequences, kept_pass_rows<W>(sequences, o.diagnosis));
  OpenedModel<W> m = open_model<W>(o.model, memory.weights);
  o.diagnosis.pass_rows = memory.pass_rows;
  o.diagnosis.spare_bytes = memory.spare;
  o.diagnosis.stop = &StopSignals::asked();
  const json forecast = print_forecast(o, m, sequences, tokens, memory);
  const auto progress = make_progress();
  const auto start = std::chrono::steady_clock::now();
  json result;
  {
    const StopSignals signals;
    result = diagnose(*m.transformer, sequences, o.diagnosis, m.weights->list(), *progress);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result["model"] = o.model;
  result["checkpoint"] = m.folder.string();
  result["dtype"] = o.dtype;
  result["seq"] = longest(sequences);
  result["seconds"] = seconds;
  result["forecast"] = forecast;
  result["peak_memory_bytes"] = peak_resident_memory();
  result["layers_read"] = m.weights->layers_read();
  const std::vector<std::string> summary = diagnosis_summary(result);
  result["summary"] = summary;
  fmt::print("loss {}, perplexity {}, {} sequences, {}, peak memory {}\n", number_of(result["loss"], 4),
             number_of(result["perplexity"], 2), sequences.size(), seconds_text(seconds),
             bytes_text(static_cast<double>(peak_resident_memory())));
  print_table(result);
  for (const std::string& sentence : summary) fmt::print("{}\n", sentence);
  write_result(*o.common, result);
  if (!o.write_sweep.empty()) {
    json removals = sweep_json(sweep_of_diagnosis(result, m.transformer->plans()));
    for (const char* key : {"model", "checkpoint", "dtype"}) removals[key] = result[key];
    write_text_file(o.write_sweep, removals.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
    if (sweep.is_null()) sweep = std::move(removals);
  }
  keep_probe(o.model, result, o.html, sweep);
  remove_diagnosis_state(o.diagnosis);
}

}  // namespace

void add_probe(Command app) {
  auto o = std::make_shared<Options>();
  Command c = add_command(app, "probe", "Diagnose which layers of a model carry weight",
                          "fathom probe runs/lns --data data --tokens 16384 --html probe.html\n"
                          "  fathom probe model.gguf --text book.txt --level quick --json probe.json",
                          o->common);
  c.option("MODEL", o->model, "Hugging Face folder, .gguf file or run folder").required();
  add_text_options(c, o->input);
  c.option("--level", o->level, "quick: what one forward pass gives; full: everything")
      .shows_default()
      .one_of({"quick", "full"});
  c.option("--metrics", o->metrics, "These alone, by their JSON keys (see docs/metrics.md)").comma_list();
  c.option("--batch", o->diagnosis.batch_size,
           "Sequences in a layer at a time (default: about 2048 tokens of them)")
      .range(1, 4096);
  c.option("--memory", o->memory,
           "What it may take, such as 4GiB (default: 80% of what is available). Layers that find no room "
           "are read from the files when they are needed")
      .byte_size();
  c.option("--spill", o->diagnosis.spill, "A folder for the recorded streams, instead of memory")
      .existing_folder();
  c.option("--resume-dir", o->resume_dir,
           "Where to keep how far it has come (default: beside --json's file); the same command goes on "
           "from there");
  const Option probes =
      c.option("--probes", o->diagnosis.probes, "Sign vectors a sequence for the identity deviation")
          .shows_default()
          .range(1, 1024);
  c.flag("--exact-identity", o->exact_identity,
         "The identity deviation exactly, not estimated: for short windows of small models")
      .excludes(probes);
  c.option("--seed", o->diagnosis.seed, "Of the sign vectors").shows_default();
  c.option("--permutation-tokens", o->diagnosis.permutation_tokens,
           "Tokens for the permutation score, which takes about L^2 / 3 passes")
      .shows_default();
  c.option("--lens-tokens", o->diagnosis.lens_tokens,
           "Tokens for the logit lens, which takes L + 1 heads (0: all)");
  c.option("--dtype", o->dtype, "fp32 or bf16").shows_default();
  c.option("--html", o->html, "Write one self-contained page to this file").type_name("FILE");
  c.option(
       "--sweep", o->sweep,
       "What `fathom prune --sweep --json` wrote of the same model, for the page (default: the run's own)")
      .type_name("FILE");
  c.option("--write-sweep", o->write_sweep,
           "Write what `fathom prune --sweep --json` would of the same text: a full diagnosis has made "
           "these removals")
      .type_name("FILE");
  c.runs([o, c] {
    apply(*o->common);
    o->diagnosis.metrics = parse_metrics(!o->metrics.empty()   ? o->metrics
                                         : o->level == "quick" ? quick_metrics()
                                                               : diagnosis_metrics());
    check_flags(*o, c);
    with_dtype(parse_dtype(o->dtype), [&]<class W>() { probe<W>(*o); });
  });
}

}  // namespace fathom::cli
