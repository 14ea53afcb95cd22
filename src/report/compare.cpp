#include "report/compare.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/layer_costs.h"
#include "report/json_fields.h"
#include "report/model_names.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

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

}  // namespace

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

}  // namespace fathom
