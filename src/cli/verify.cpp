// fathom verify: the live model against a golden directory, or two checkpoints of one model against each
// other.

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/live_optimizer.h"
#include "cli/model_loading.h"
#include "cli/text_input.h"
#include "core/error.h"
#include "kernels/isa.h"
#include "probe/divergence.h"
#include "probe/golden.h"
#include "report/table.h"

namespace fathom::cli {
namespace {

struct Options {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model, other, dtype = "fp32";
  TextInput input;
  size_t batch = 8;
  double tolerance = 0;
};

std::string state_of(const KeyDeviation& k) {
  if (!k.problem.empty()) return "FAIL: " + k.problem;
  if (k.tolerance == 0) return "not held";
  return k.passed() ? "ok" : "FAIL";
}

void print_keys(const std::vector<KeyDeviation>& keys) {
  Table table({{"key", Align::kLeft},
               {"deviation"},
               {"tolerance"},
               {"", Align::kLeft},
               {"largest at", Align::kLeft}});
  for (const KeyDeviation& k : keys) {
    table.add_row({k.key, k.problem.empty() ? fmt::format("{:.1e}", k.deviation) : "-",
                   k.tolerance > 0 ? fmt::format("{:.0e}", k.tolerance) : "-", state_of(k), k.worst});
  }
  fmt::print("{}", table.text());
}

nlohmann::json keys_json(const std::vector<KeyDeviation>& keys) {
  nlohmann::json out = nlohmann::json::array();
  for (const KeyDeviation& k : keys) {
    out.push_back({{"key", k.key},
                   {"deviation", k.problem.empty() ? nlohmann::json(k.deviation) : nlohmann::json()},
                   {"tolerance", k.tolerance > 0 ? nlohmann::json(k.tolerance) : nlohmann::json()},
                   {"worst", k.worst},
                   {"problem", k.problem},
                   {"passed", k.passed()}});
  }
  return out;
}

// A golden directory brings its tokens, and a tolerance for each key: what would change nothing is refused.
void check_golden_flags(const Command& command) {
  for (const char* flag :
       {"--text", "--token-ids", "--data", "--tokens", "--seq", "--batch", "--tolerance"}) {
    if (command.given(flag))
      usage_error(
          std::string(flag) + " is for two models: a golden directory has tokens and tolerances of its own",
          "leave it out, or compare with: fathom verify A B --text FILE");
  }
}

template <class W>
void verify_golden(const Options& o) {
  const Golden golden = read_golden(o.model);
  LoadedModel<W> m = load_model<W>(o.model);
  const std::vector<KeyDeviation> keys =
      compare_golden(golden.expected,
                     compute_golden<W>(*m.transformer, *m.weights, golden, live_optimizer<W>), dtype_of<W>());
  fmt::print("{}: {} in {} on {}\n", o.model, norm_name(m.config.norm.type), dtype_name(dtype_of<W>()),
             isa_name(active_isa()));
  print_keys(keys);
  std::string failed;
  size_t failures = 0;
  for (const KeyDeviation& k : keys) {
    if (k.passed()) continue;
    failed += (failures++ > 0 ? ", " : "") + k.key;
  }
  write_result(*o.common, {{"model", o.model},
                           {"dtype", dtype_name(dtype_of<W>())},
                           {"isa", isa_name(active_isa())},
                           {"passed", failures == 0},
                           {"keys", keys_json(keys)}});
  if (failures > 0)
    fail(fmt::format("{}: {} of {} keys deviate beyond tolerance: {}", o.model, failures, keys.size(),
                     failed));
  fmt::print("all {} keys agree\n", keys.size());
}

nlohmann::json divergence_json(const Divergence& d) {
  nlohmann::json places = nlohmann::json::array(), tensors = nlohmann::json::array();
  for (const PlaceDeviation& p : d.places)
    places.push_back({{"place", p.place.text()}, {"deviation", p.deviation}});
  for (const TensorDeviation& t : d.tensors)
    tensors.push_back({{"tensor", t.name}, {"deviation", t.deviation}});
  return {{"passed", !d.first},
          {"first", d.first ? nlohmann::json(d.first->text()) : nlohmann::json()},
          {"tensor", d.tensor.empty() ? nlohmann::json() : nlohmann::json(d.tensor)},
          {"places", places},
          {"tensors", tensors}};
}

// What else than a weight may differ, for a divergence that no tensor explains.
std::string config_difference(const ModelConfig& a, const ModelConfig& b) {
  const nlohmann::json x = config_to_json(a, DType::kF32), y = config_to_json(b, DType::kF32);
  std::string text;
  for (const auto& [key, value] : x.items()) {
    const nlohmann::json other = y.contains(key) ? y[key] : nlohmann::json();
    if (other != value)
      text += fmt::format("{}{}: {} and {}", text.empty() ? "" : ", ", key, value.dump(), other.dump());
  }
  return text.empty() ? "their configs do not differ either" : "their configs differ in " + text;
}

template <class W>
void verify_pair(const Options& o) {
  const size_t bytes = loaded_bytes<W>(read_config(resolve_model(o.model))) +
                       loaded_bytes<W>(read_config(resolve_model(o.other)));
  require_room(o.model + " and " + o.other, bytes, dtype_of<W>());
  LoadedModel<W> a = load_model<W>(o.model), b = load_model<W>(o.other);
  const double tolerance = o.tolerance > 0 ? o.tolerance : dtype_of<W>() == DType::kBf16 ? 2e-2 : 1e-4;
  const auto progress = make_progress_if_long();
  const Divergence d =
      find_divergence(*a.transformer, *a.weights, *b.transformer, *b.weights,
                      read_sequences(o.input, a.folder, a.config), o.batch, tolerance, progress.get());
  Table table({{"place", Align::kLeft}, {"deviation"}, {"", Align::kLeft}});
  for (const PlaceDeviation& p : d.places)
    table.add_row(
        {p.place.text(), fmt::format("{:.1e}", p.deviation), p.deviation <= tolerance ? "ok" : "DIVERGES"});
  fmt::print("{} and {} in {}, tolerance {:.0e}\n{}", o.model, o.other, dtype_name(dtype_of<W>()), tolerance,
             table.text());
  for (const TensorDeviation& t : d.tensors) fmt::print("{} differs by {:.1e}\n", t.name, t.deviation);
  write_result(*o.common, divergence_json(d));
  if (!d.first) {
    fmt::print("the models agree\n");
    return;
  }
  fail({.what = "the models part at: " + d.first->text(),
        .tensor = d.tensor,
        .hint = d.tensor.empty()
                    ? "no tensor that is read there differs as much; " + config_difference(a.config, b.config)
                    : std::string()});
}

}  // namespace

void add_verify(Command app) {
  auto o = std::make_shared<Options>();
  Command c = add_command(
      app, "verify",
      "Hold the live model to a golden directory, or find where two checkpoints of one model part",
      "fathom verify golden/lns --dtype bf16\n  fathom verify runs/lns exported --text book.txt", o->common);
  c.option("MODEL", o->model, "A directory in the golden format; with OTHER, a model").required();
  c.option("OTHER", o->other, "A second checkpoint of the same model");
  c.option("--dtype", o->dtype, "fp32 or bf16").shows_default();
  add_text_options(c, o->input);
  c.option("--batch", o->batch, "Sequences at a time").shows_default().range(1, 4096);
  c.option("--tolerance", o->tolerance,
           "Of two models' streams, relative (default: 1e-4, bf16 2e-2); not for goldens")
      .positive();
  c.runs([o, c] {
    if (o->other.empty()) check_golden_flags(c);
    apply(*o->common);
    with_dtype(parse_dtype(o->dtype),
               [&]<class W>() { o->other.empty() ? verify_golden<W>(*o) : verify_pair<W>(*o); });
  });
}

}  // namespace fathom::cli
