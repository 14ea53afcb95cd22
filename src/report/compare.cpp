#include "report/compare.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/layer_costs.h"
#include "report/format.h"
#include "report/json_fields.h"
#include "report/model_names.h"
#include "report/removals.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

double median(std::vector<double> values) {
  if (values.empty()) return kMissing;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

std::string variance_cell(double first, double last) {
  if (std::isnan(first)) return {};
  return fmt::format("{} -> {} ({}x)", number_text(first, 3), number_text(last, 3),
                     number_text(last / first, 3));
}

std::string variance_cell(const ProbeRecord& probe) {
  const DepthValues* variance = probe.find("variance");
  return variance == nullptr ? std::string() : variance_cell(variance->value[1], variance->value.back());
}

/// The removal of whole layers of the model at place `run`; null where it was not measured.
const Removals* whole_layers_of(const std::vector<Removals>& removals, size_t run) {
  const auto it = std::find_if(removals.begin(), removals.end(), [&](const Removals& r) {
    return r.run == run && r.what == "layer" && !r.removed.empty();
  });
  return it == removals.end() ? nullptr : &*it;
}

std::string depth_cell(const RunRecord& run, const RunSummary& s) {
  if (!run.sweep || run.sweep->removed.empty()) return {};
  if (std::isnan(s.effective_depth))
    return no_depth_reason(run.sweep->removed) == "no removal hurts" ? "none" : "not measured";
  return fmt::format("{:.1f} of {} ({:.2f})", s.effective_depth, s.layers, s.effective_depth_ratio);
}

std::string pair_sentence(const RunRecord& first, const RunRecord& other, const Pairing& pairing) {
  if (pairing.steps.empty()) {
    return fmt::format("{} and {} can't be paired: {}.", other.name, first.name, pairing.reason);
  }
  const PairedDifference& d = pairing.steps.back();
  std::string text =
      fmt::format("{} minus {}: validation loss {:+.4f}", other.name, first.name, d.difference);
  if (!std::isnan(d.standard_error)) text += fmt::format(" +- {:.4f}", d.standard_error);
  text += fmt::format(" nats, paired over {} sequences at step {}: {}", d.sequences, d.step, d.verdict());
  if (d.standard_error > 0) {
    text += fmt::format(" ({:.1f} standard errors)", std::abs(d.difference) / d.standard_error);
  }
  return text + ".";
}

struct SweepFile {
  fs::path path;
  SweepRecord sweep;
};

/// Reads a file that a command wrote with --json.
void read_result(const fs::path& path, std::vector<ProbeRecord>& probes, std::vector<SweepFile>& sweeps) {
  const nlohmann::json object = read_json_file(path);
  if (object.is_object() && object.contains("per_layer")) {
    probes.push_back(read_probe(object, path));
  } else if (object.is_object() && object.contains("removed")) {
    sweeps.push_back({path, read_sweep(object, path)});
  } else {
    fail({.what = "is neither a diagnosis nor a removal sweep",
          .path = path.string(),
          .hint = "give run directories, or files of fathom probe --json and fathom prune --sweep --json"});
  }
}

/// The diagnoses that runs have in their folders stand before those of files, whose places follow the runs'.
void adopt_probes(RunComparison& c) {
  for (size_t i = 0; i < c.probes.size(); ++i) c.probes[i].run = c.runs.size() + i;
  std::vector<ProbeRecord> all;
  for (size_t i = 0; i < c.runs.size(); ++i) {
    if (!c.runs[i].probe) continue;
    all.push_back(*c.runs[i].probe);
    all.back().run = i;
    all.back().name = c.runs[i].name;
  }
  std::move(c.probes.begin(), c.probes.end(), std::back_inserter(all));
  c.probes = std::move(all);
}

bool same_model(const std::string& a, const fs::path& b) {
  std::error_code error;  // Models may have moved since; then the names decide.
  return !a.empty() && (fs::path(a) == b || fs::equivalent(a, b, error));
}

/// Hands a sweep to the model that it is of.
void give_sweep(SweepFile file, RunComparison& c) {
  for (ProbeRecord& probe : c.probes) {
    if (!same_model(file.sweep.model, probe.model)) continue;
    if (const uint64_t last = file.sweep.last_layer(); last > probe.layers)
      fail({.what = fmt::format("removes layer {}, but '{}' has {} layers", last, probe.model, probe.layers),
            .path = file.path.string(),
            .hint = "is it a sweep of another model?"});
    if (c.is_run(probe.run) && file.sweep.prices_layers()) {
      c.runs[probe.run].sweep = std::move(file.sweep);
    } else {
      probe.sweeps.push_back(std::move(file.sweep));
    }
    return;
  }
  for (RunRecord& run : c.runs) {
    if (!same_model(file.sweep.model, run.path)) continue;
    if (file.sweep.prices_layers())
      run.sweep = std::move(file.sweep);
    else
      run.other_sweeps.push_back(std::move(file.sweep));
    return;
  }
  ProbeRecord alone;
  alone.run = c.models();
  alone.name = model_name(file.sweep.model, file.path);
  alone.path = file.path;
  alone.model = file.sweep.model;
  alone.tokens = file.sweep.tokens;
  alone.loss = file.sweep.loss;
  alone.perplexity = file.sweep.perplexity;
  alone.layers = file.sweep.last_layer();
  alone.sweeps.push_back(std::move(file.sweep));
  c.probes.push_back(std::move(alone));
}

/// What a diagnosis says of its layers' costs, in the form of a sweep.
SweepRecord sweep_of(const ProbeRecord& probe) {
  SweepRecord sweep{.model = probe.model,
                    .checkpoint = probe.checkpoint,
                    .tokens = probe.tokens,
                    .loss = probe.loss,
                    .perplexity = probe.perplexity,
                    .removed = {},
                    .blocks = {}};
  const DepthValues* delta = probe.find("delta_loss");
  std::vector<double> deltas;
  for (size_t l = 1; l <= probe.layers; ++l) {
    sweep.removed.push_back(
        {.layer = l, .loss = kMissing, .delta_loss = delta->value[l], .delta_loss_stderr = delta->error[l]});
    deltas.push_back(delta->value[l]);
  }
  sweep.effective_depth = effective_depth(deltas).value_or(kMissing);
  sweep.effective_depth_ratio = sweep.effective_depth / static_cast<double>(probe.layers);
  return sweep;
}

/// A run goes on after its sweep: costs of another checkpoint give way to those that the diagnosis has
/// itself.
void settle_sweeps(RunComparison& c) {
  for (ProbeRecord& probe : c.probes) {
    if (probe.find("delta_loss") == nullptr) continue;
    const auto is_stale = [&](const SweepRecord& sweep) {
      if (!sweep.prices_layers() || sweep.other_checkpoint(probe.checkpoint).empty()) return false;
      probe.notes.push_back(
          fmt::format("{}: a sweep is of {}, the diagnosis of {}: the costs of removal are the diagnosis's; "
                      "fathom prune {} "
                      "--sweep --text FILE makes a sweep anew.",
                      probe.name, sweep.checkpoint, probe.checkpoint, probe.model));
      return true;
    };
    if (c.is_run(probe.run) && c.runs[probe.run].sweep && is_stale(*c.runs[probe.run].sweep))
      c.runs[probe.run].sweep = sweep_of(probe);
    std::erase_if(probe.sweeps, is_stale);
  }
}

/// A number that JSON can hold.
nlohmann::json value_of(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}

}  // namespace

std::vector<ValidationPoint> validations(const RunRecord& run) {
  std::map<uint64_t, ValidationPoint> by_step;
  const auto add = [&](const auto& source) {
    if (std::isnan(source.val_loss)) return;
    ValidationPoint& v = by_step[source.step];
    v.step = source.step;
    v.tokens = source.tokens;
    v.loss = source.val_loss;
    v.perplexity = std::isnan(source.val_ppl) ? std::exp(source.val_loss) : source.val_ppl;
    if (!std::isnan(source.val_loss_stderr)) v.loss_stderr = source.val_loss_stderr;
    v.perplexity_stderr = v.perplexity * v.loss_stderr;
  };
  for (const MetricRecord& point : run.points) add(point);
  for (const EvaluationRecord& evaluation : run.evaluations) add(evaluation);
  std::vector<ValidationPoint> out;
  for (const auto& [step, validation] : by_step) out.push_back(validation);
  return out;
}

RunSummary summarize(const RunRecord& run) {
  RunSummary out;
  out.step = run.points.back().step;
  out.tokens = run.points.back().tokens;
  const std::vector<ValidationPoint> all = validations(run);
  if (!all.empty()) out.validation = all.back();
  std::vector<double> speeds;
  for (const MetricRecord& point : run.points) {
    if (!std::isnan(point.tokens_per_second)) speeds.push_back(point.tokens_per_second);
    if (point.layer_variance.empty()) continue;
    out.variance_first = point.layer_variance.front();
    out.variance_last = point.layer_variance.back();
  }
  out.tokens_per_second = median(std::move(speeds));
  if (run.sweep) {
    out.layers = run.sweep->removed.size();
    out.effective_depth = run.sweep->effective_depth;
    out.effective_depth_ratio = run.sweep->effective_depth_ratio;
  }
  return out;
}

size_t RunComparison::models() const {
  size_t last = runs.size();
  for (const ProbeRecord& probe : probes) last = std::max(last, probe.run + 1);
  return last;
}

RunComparison compare_runs(const std::vector<fs::path>& paths) {
  RunComparison out;
  std::vector<SweepFile> sweeps;
  std::set<fs::path> seen;
  for (const fs::path& path : paths) {
    std::error_code missing;  // What is not there is refused below, by its name.
    if (!seen.insert(fs::weakly_canonical(path, missing)).second)
      usage_error("'" + path.string() + "' is given twice", "name each run and file once");
    if (fs::is_regular_file(path)) {
      read_result(path, out.probes, sweeps);
    } else {
      out.runs.push_back(load_run(path));
    }
  }
  name_models(out.runs, out.probes);
  adopt_probes(out);
  for (SweepFile& file : sweeps) give_sweep(std::move(file), out);
  settle_sweeps(out);
  for (const RunRecord& run : out.runs) out.summaries.push_back(summarize(run));
  for (size_t i = 1; i < out.runs.size(); ++i) out.pairings.push_back(pair_runs(out.runs[0], out.runs[i]));
  return out;
}

RunComparison single_probe(const nlohmann::json& probe, const nlohmann::json& sweep) {
  RunComparison out;
  out.probes.push_back(read_probe(probe, "the diagnosis"));
  if (!sweep.is_null()) out.probes[0].sweeps.push_back(read_sweep(sweep, "sweep.json"));
  name_models(out.runs, out.probes);
  settle_sweeps(out);
  return out;
}

Table summary_table(const RunComparison& comparison) {
  Table table({{"run", Align::kLeft},
               {"scheme", Align::kLeft},
               {"parameters"},
               {"tokens"},
               {"val perplexity"},
               {"tokens/s"},
               {"variance, first -> last layer"},
               {"effective depth"}});
  for (size_t i = 0; i < comparison.runs.size(); ++i) {
    const RunRecord& run = comparison.runs[i];
    const RunSummary& s = comparison.summaries[i];
    table.add_row({run.name, run.norm, count_text(run.parameters), count_text(static_cast<double>(s.tokens)),
                   with_error(s.validation.perplexity, s.validation.perplexity_stderr, 2),
                   count_text(s.tokens_per_second), variance_cell(s.variance_first, s.variance_last),
                   depth_cell(run, s)});
  }
  return table;
}

Table probe_table(const RunComparison& comparison) {
  Table table({{"model", Align::kLeft},
               {"layers"},
               {"tokens"},
               {"loss"},
               {"perplexity"},
               {"variance, first -> last layer"},
               {"effective depth"},
               {"cheapest layer, nats"}});
  const std::vector<Removals> removals = removals_of(comparison);
  for (const ProbeRecord& probe : comparison.probes) {
    const Removals* r = whole_layers_of(removals, probe.run);
    const RemovalRecord* least = r == nullptr ? nullptr : r->cheapest();
    table.add_row({probe.name, std::to_string(probe.layers),
                   probe.tokens > 0 ? count_text(static_cast<double>(probe.tokens)) : std::string(),
                   with_error(probe.loss, probe.loss_stderr, 4), number_text(probe.perplexity, 4),
                   variance_cell(probe), r == nullptr ? std::string() : effective_depth_text(*r, ""),
                   least == nullptr
                       ? std::string()
                       : fmt::format("{}: {}{}", least->layer, least->delta_loss < 0 ? "" : "+",
                                     with_error(least->delta_loss, least->delta_loss_stderr, 4))});
  }
  return table;
}

std::vector<std::string> findings(const RunComparison& comparison) {
  std::vector<std::string> out;
  for (size_t i = 0; i < comparison.pairings.size(); ++i) {
    out.push_back(pair_sentence(comparison.runs[0], comparison.runs[i + 1], comparison.pairings[i]));
  }
  std::set<uint64_t> tokens;
  for (const RunSummary& s : comparison.summaries) {
    if (s.validation.tokens > 0) tokens.insert(s.validation.tokens);
  }
  if (tokens.size() > 1) {
    std::string at;
    for (size_t i = 0; i < comparison.runs.size(); ++i) {
      const ValidationPoint& v = comparison.summaries[i].validation;
      if (v.tokens == 0) continue;
      at += fmt::format("{}{} after {}", at.empty() ? "" : ", ", comparison.runs[i].name,
                        count_text(static_cast<double>(v.tokens)));
    }
    out.push_back("The perplexities are not of the same number of tokens: " + at + ".");
  }
  for (const ProbeRecord& probe : comparison.probes)
    out.insert(out.end(), probe.notes.begin(), probe.notes.end());
  for (const RunRecord& run : comparison.runs) {
    if (run.sweep) continue;
    out.push_back(fmt::format("{} has no removal sweep yet: fathom prune {} --text FILE --sweep --json {}",
                              run.name, run.path.string(), (run.path / "sweep.json").string()));
  }
  return out;
}

namespace {

nlohmann::json probes_json(const RunComparison& comparison) {
  nlohmann::json out = nlohmann::json::array();
  const std::vector<Removals> removals = removals_of(comparison);
  for (const ProbeRecord& probe : comparison.probes) {
    const DepthValues* variance = probe.find("variance");
    const Removals* r = whole_layers_of(removals, probe.run);
    const RemovalRecord* least = r == nullptr ? nullptr : r->cheapest();
    out.push_back(
        {{"name", probe.name},
         {"path", valid_utf8(probe.path.string())},
         {"model", probe.model},
         {"layers", probe.layers},
         {"tokens", probe.tokens},
         {"loss", value_of(probe.loss)},
         {"loss_stderr", value_of(probe.loss_stderr)},
         {"perplexity", value_of(probe.perplexity)},
         {"variance_first", value_of(variance == nullptr ? kMissing : variance->value[1])},
         {"variance_last", value_of(variance == nullptr ? kMissing : variance->value.back())},
         {"effective_depth", value_of(r == nullptr ? kMissing : r->effective_depth)},
         {"effective_depth_stderr", value_of(r == nullptr ? kMissing : effective_depth_stderr(r->removed))},
         {"effective_depth_ratio", value_of(r == nullptr ? kMissing : r->effective_depth_ratio)},
         {"cheapest_layer", least == nullptr ? nlohmann::json() : nlohmann::json(least->layer)},
         {"cheapest_delta_loss", value_of(least == nullptr ? kMissing : least->delta_loss)}});
  }
  return out;
}

}  // namespace

nlohmann::json comparison_json(const RunComparison& comparison) {
  nlohmann::json out{{"runs", nlohmann::json::array()}, {"paired", nlohmann::json::array()}};
  for (size_t i = 0; i < comparison.runs.size(); ++i) {
    const RunRecord& run = comparison.runs[i];
    const RunSummary& s = comparison.summaries[i];
    const bool evaluated = !std::isnan(s.validation.loss);
    out["runs"].push_back({{"name", run.name},
                           {"path", valid_utf8(run.path.string())},
                           {"norm", run.norm},
                           {"seed", run.seed},
                           {"parameters", value_of(run.parameters)},
                           {"step", s.step},
                           {"tokens", s.tokens},
                           {"val_step", evaluated ? nlohmann::json(s.validation.step) : nlohmann::json()},
                           {"val_loss", value_of(s.validation.loss)},
                           {"val_loss_stderr", value_of(s.validation.loss_stderr)},
                           {"val_ppl", value_of(s.validation.perplexity)},
                           {"val_ppl_stderr", value_of(s.validation.perplexity_stderr)},
                           {"tokens_per_second", value_of(s.tokens_per_second)},
                           {"variance_first", value_of(s.variance_first)},
                           {"variance_last", value_of(s.variance_last)},
                           {"layers", run.sweep ? nlohmann::json(s.layers) : nlohmann::json()},
                           {"effective_depth", value_of(s.effective_depth)},
                           {"effective_depth_ratio", value_of(s.effective_depth_ratio)}});
  }
  for (size_t i = 0; i < comparison.pairings.size(); ++i) {
    nlohmann::json steps = nlohmann::json::array();
    for (const PairedDifference& d : comparison.pairings[i].steps) {
      steps.push_back({{"step", d.step},
                       {"tokens", d.tokens},
                       {"sequences", d.sequences},
                       {"val_loss_difference", value_of(d.difference)},
                       {"val_loss_difference_stderr", value_of(d.standard_error)},
                       {"verdict", d.verdict()}});
    }
    out["paired"].push_back({{"run", comparison.runs[i + 1].name},
                             {"versus", comparison.runs[0].name},
                             {"reason", comparison.pairings[i].reason},
                             {"steps", steps}});
  }
  out["probes"] = probes_json(comparison);
  return out;
}

}  // namespace fathom
