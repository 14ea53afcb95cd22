#include "report/compare.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "report/format.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

/// The last `components` of `path`.
std::string tail_of(const fs::path& path, size_t components) {
  std::vector<fs::path> parts(path.begin(), path.end());
  fs::path out;
  for (size_t i = parts.size() - std::min(components, parts.size()); i < parts.size(); ++i) out /= parts[i];
  return valid_utf8(out.string());
}

/// Names each run by its folder, with as many of the folders above as it takes to tell them apart.
void name_runs(std::vector<RunRecord>& runs) {
  std::vector<fs::path> paths;
  for (const RunRecord& run : runs) {
    paths.push_back(fs::canonical(run.path));
    if (std::count(paths.begin(), paths.end(), paths.back()) > 1) {
      usage_error("the run '" + run.path.string() + "' is given twice", "name each run once");
    }
  }
  std::set<std::string> names;
  for (size_t components = 1; names.size() < runs.size(); ++components) {
    names.clear();
    for (size_t i = 0; i < runs.size(); ++i) names.insert(runs[i].name = tail_of(paths[i], components));
    const auto longest = [](const fs::path& path) { return std::distance(path.begin(), path.end()); };
    // Two names that differ only in bytes that are not UTF-8 stay alike.
    if (std::all_of(paths.begin(), paths.end(),
                    [&](const fs::path& p) { return static_cast<size_t>(longest(p)) <= components; })) {
      return;
    }
  }
}

double median(std::vector<double> values) {
  if (values.empty()) return kMissing;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

std::string variance_cell(const RunSummary& s) {
  if (std::isnan(s.variance_first)) return {};
  return fmt::format("{} -> {} ({}x)", number_text(s.variance_first, 3), number_text(s.variance_last, 3),
                     number_text(s.variance_last / s.variance_first, 3));
}

std::string depth_cell(const RunRecord& run, const RunSummary& s) {
  if (!run.sweep) return {};
  if (std::isnan(s.effective_depth)) return "none";
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

RunComparison compare_runs(const std::vector<fs::path>& folders) {
  RunComparison out;
  for (const fs::path& folder : folders) out.runs.push_back(load_run(folder));
  name_runs(out.runs);
  for (const RunRecord& run : out.runs) out.summaries.push_back(summarize(run));
  for (size_t i = 1; i < out.runs.size(); ++i) out.pairings.push_back(pair_runs(out.runs[0], out.runs[i]));
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
                   count_text(s.tokens_per_second), variance_cell(s), depth_cell(run, s)});
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
  return out;
}

}  // namespace fathom
