#include "report/compare_results.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "report/format.h"
#include "report/removals.h"

namespace fathom {
namespace {

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

/// A number that JSON can hold.
nlohmann::json value_of(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}

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
