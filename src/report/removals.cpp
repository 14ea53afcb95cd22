#include "report/removals.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "core/layer_costs.h"
#include "core/layer_ranges.h"
#include "report/accuracy_blocks.h"
#include "report/format.h"

namespace fathom {
namespace {

std::vector<double> deltas_of(const std::vector<RemovalRecord>& removed) {
  std::vector<double> deltas;
  for (const RemovalRecord& removal : removed) deltas.push_back(removal.delta_loss);
  return deltas;
}

std::vector<double> errors_of(const std::vector<RemovalRecord>& removed) {
  std::vector<double> errors;
  for (const RemovalRecord& removal : removed) errors.push_back(removal.delta_loss_stderr);
  return errors;
}

/// Fills in the effective depth where the file has none: of a diagnosis, or of a sweep by another program.
void complete(Removals& r) {
  if (r.what != "layer" || !std::isnan(r.effective_depth)) return;
  r.effective_depth = effective_depth(deltas_of(r.removed)).value_or(kMissing);
  r.effective_depth_ratio = r.effective_depth / static_cast<double>(r.removed.size());
}

Removals removals_from(const SweepRecord& sweep, size_t run, const std::string& name, size_t layers) {
  Removals out{.run = run,
               .name = name,
               .what = sweep.what,
               .layers = std::max<size_t>(layers, sweep.last_layer()),
               .loss = sweep.loss,
               .removed = sweep.removed,
               .blocks = sweep.blocks,
               .effective_depth = sweep.effective_depth,
               .effective_depth_ratio = sweep.effective_depth_ratio,
               .accuracies = sweep.accuracies};
  complete(out);
  return out;
}

Removals removals_from(const ProbeRecord& probe) {
  Removals out{.run = probe.run,
               .name = probe.name,
               .what = "layer",
               .layers = probe.layers,
               .loss = probe.loss,
               .removed = {},
               .blocks = {}};
  const DepthValues* delta = probe.find("delta_loss");
  if (delta == nullptr) return out;
  for (size_t l = 1; l <= probe.layers; ++l) {
    out.removed.push_back(
        {.layer = l, .loss = kMissing, .delta_loss = delta->value[l], .delta_loss_stderr = delta->error[l]});
  }
  complete(out);
  return out;
}

bool has_layer_sweep(const std::vector<SweepRecord>& sweeps) {
  return std::any_of(sweeps.begin(), sweeps.end(),
                     [](const SweepRecord& s) { return s.what == "layer" && !s.removed.empty(); });
}

const RemovalRecord* extreme(const std::vector<RemovalRecord>& removed, double sign) {
  const RemovalRecord* best = nullptr;
  for (const RemovalRecord& r : removed) {
    if (std::isfinite(r.delta_loss) && (best == nullptr || sign * r.delta_loss > sign * best->delta_loss))
      best = &r;
  }
  return best;
}

std::string perplexity_change(double loss, double delta) {
  if (!std::isfinite(loss)) return {};
  return fmt::format(" (perplexity {} -> {})", number_text(std::exp(loss), 4),
                     number_text(std::exp(loss + delta), 4));
}

/// "Cheapest layer to cut: 8, ...", "Cheapest attention to cut: that of layer 8, ...".
std::string single_sentence(const Removals& r, const RemovalRecord& least, const RemovalRecord& most) {
  const bool whole = r.what == "layer";
  const std::string part = r.what == "attn" ? "attention" : r.what == "mlp" ? "MLP" : r.what;
  const std::string of = whole ? "" : "that of layer ";
  return fmt::format("Cheapest {} to cut: {}{}, {}{}. Dearest: {}{}, {}.", part, of, least.layer,
                     price_text(least.delta_loss, least.delta_loss_stderr),
                     perplexity_change(r.loss, least.delta_loss), of, most.layer,
                     price_text(most.delta_loss, most.delta_loss_stderr));
}

/// Of a sweep that left some layers whole, their cost is not known: NaN.
std::string cheap_sentence(const Removals& r) {
  std::vector<double> deltas(r.layers, kMissing), errors(r.layers, 0.0);
  for (const RemovalRecord& removal : r.removed) {
    deltas[removal.layer - 1] = removal.delta_loss;
    errors[removal.layer - 1] = removal.delta_loss_stderr;
  }
  return cheap_layers_sentence(deltas, errors);
}

/// The cheapest removal of each number of layers.
std::vector<std::string> block_sentences(const std::vector<BlockRemovalRecord>& blocks, double loss) {
  std::map<size_t, const BlockRemovalRecord*> best;
  for (const BlockRemovalRecord& block : blocks) {
    const BlockRemovalRecord*& least = best[block.layers.size()];
    if (std::isfinite(block.delta_loss) && (least == nullptr || block.delta_loss < least->delta_loss))
      least = &block;
  }
  std::vector<std::string> out;
  for (const auto& [count, block] : best) {
    if (block == nullptr) continue;
    out.push_back(fmt::format(
        "Cheapest {} layers to cut together: {}, {}{}.", count, layer_ranges(block->layers),
        price_text(block->delta_loss, block->delta_loss_stderr), perplexity_change(loss, block->delta_loss)));
  }
  return out;
}

}  // namespace

const RemovalRecord* Removals::cheapest() const { return extreme(removed, -1); }
const RemovalRecord* Removals::dearest() const { return extreme(removed, 1); }

std::vector<Removals> removals_of(const RunComparison& comparison) {
  std::vector<Removals> out;
  for (size_t i = 0; i < comparison.runs.size(); ++i) {
    const RunRecord& run = comparison.runs[i];
    const std::string now = run.probe && !run.probe->checkpoint.empty()
                                ? run.probe->checkpoint
                                : fmt::format("step-{}", run.points.back().step);
    const auto name = [&](const SweepRecord& sweep) { return run.name + sweep.other_checkpoint(now); };
    if (run.sweep) out.push_back(removals_from(*run.sweep, i, name(*run.sweep), 0));
    for (const SweepRecord& sweep : run.other_sweeps) out.push_back(removals_from(sweep, i, name(sweep), 0));
  }
  for (const ProbeRecord& probe : comparison.probes) {
    const bool run_has_sweep = probe.run < comparison.runs.size() && comparison.runs[probe.run].sweep;
    for (const SweepRecord& sweep : probe.sweeps)
      out.push_back(removals_from(sweep, probe.run, probe.name + sweep.other_checkpoint(probe.checkpoint),
                                  probe.layers));
    if (run_has_sweep || has_layer_sweep(probe.sweeps)) continue;
    if (Removals own = removals_from(probe); !own.removed.empty()) out.push_back(std::move(own));
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Removals& a, const Removals& b) { return a.run < b.run; });
  return out;
}

double effective_depth_stderr(const std::vector<RemovalRecord>& removed) {
  return effective_depth_standard_error(deltas_of(removed), errors_of(removed));
}

std::string no_depth_reason(const std::vector<RemovalRecord>& removed) {
  const bool finite = std::all_of(removed.begin(), removed.end(),
                                  [](const RemovalRecord& r) { return std::isfinite(r.delta_loss); });
  return finite ? "no removal hurts" : "not measured: the loss is not finite";
}

std::string effective_depth_text(const Removals& r, const char* unit) {
  if (std::isnan(r.effective_depth)) return no_depth_reason(r.removed);
  return fmt::format("{} of {}{}", with_error(r.effective_depth, effective_depth_stderr(r.removed), 1),
                     r.layers, unit);
}

std::string price_text(double delta, double error) {
  if (!std::isfinite(delta)) return {};
  const std::string text = fmt::format("{:+.4f}", delta);
  return (std::isfinite(error) ? fmt::format("{} +- {:.4f}", text, error) : text) + " nats";
}

std::vector<std::string> removal_headline(const Removals& r) {
  std::vector<std::string> out;
  const RemovalRecord *least = r.cheapest(), *most = r.dearest();
  if (r.what == "layer" && !r.removed.empty()) {
    const bool harmless = std::isnan(r.effective_depth) && no_depth_reason(r.removed) == "no removal hurts";
    out.push_back(harmless ? "No removal hurts: there is no effective depth."
                           : "Effective depth: " + effective_depth_text(r) + ".");
  }
  if (least != nullptr && r.removed.size() > 1) {
    out.push_back(single_sentence(r, *least, *most));
    if (r.what == "layer") out.push_back(cheap_sentence(r));
    out.push_back(selection_sentence(r.removed.size()));
  }
  for (std::string& sentence : block_sentences(r.blocks, r.loss)) out.push_back(std::move(sentence));
  for (std::string& sentence : accuracy_sentences(r.accuracies, r.what)) out.push_back(std::move(sentence));
  return out;
}

}  // namespace fathom
