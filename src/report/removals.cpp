#include "report/removals.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "core/layer_ranges.h"
#include "report/accuracy_blocks.h"
#include "report/format.h"

namespace fathom {
namespace {

constexpr double kCheap = 0.01;  // Nats: one per cent of perplexity.

/// Fills in the effective depth where the file has none: of a diagnosis, or of a sweep by another program.
void complete(Removals& r) {
  if (r.what != "layer" || !std::isnan(r.effective_depth)) return;
  double sum = 0, squares = 0;
  for (const RemovalRecord& removal : r.removed) {
    const double d = std::max(0.0, removal.delta_loss);
    sum += d;
    squares += d * d;
  }
  if (!(squares > 0)) return;
  r.effective_depth = sum * sum / squares;
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

std::string cheap_sentence(const Removals& r) {
  std::vector<uint64_t> cheap;
  for (const RemovalRecord& removal : r.removed) {
    if (removal.delta_loss < kCheap) cheap.push_back(removal.layer);
  }
  if (cheap.empty()) return fmt::format("No layer is free: each costs {} nats or more by itself.", kCheap);
  return fmt::format("{} of {} layers cost less than {} nats each by itself, 1% of perplexity: {}.",
                     cheap.size(), r.layers, kCheap, layer_ranges(cheap));
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
    if (run.sweep) out.push_back(removals_from(*run.sweep, i, run.name, 0));
    for (const SweepRecord& sweep : run.other_sweeps) out.push_back(removals_from(sweep, i, run.name, 0));
  }
  for (const ProbeRecord& probe : comparison.probes) {
    const bool run_has_sweep = probe.run < comparison.runs.size() && comparison.runs[probe.run].sweep;
    for (const SweepRecord& sweep : probe.sweeps)
      out.push_back(removals_from(sweep, probe.run, probe.name, probe.layers));
    if (run_has_sweep || has_layer_sweep(probe.sweeps)) continue;
    if (Removals own = removals_from(probe); !own.removed.empty()) out.push_back(std::move(own));
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Removals& a, const Removals& b) { return a.run < b.run; });
  return out;
}

double effective_depth_stderr(const std::vector<RemovalRecord>& removed) {
  double sum = 0, squares = 0;
  for (const RemovalRecord& r : removed) {
    const double d = std::max(0.0, r.delta_loss);
    sum += d;
    squares += d * d;
  }
  if (!(squares > 0)) return kMissing;
  const double depth = sum * sum / squares;
  double variance = 0;
  for (const RemovalRecord& r : removed) {
    if (!(r.delta_loss > 0)) continue;
    const double slope = 2 * depth / sum * (1 - depth * r.delta_loss / sum);
    variance += slope * slope * r.delta_loss_stderr * r.delta_loss_stderr;
  }
  return std::sqrt(variance);
}

std::string effective_depth_text(const Removals& r, const char* unit) {
  if (std::isnan(r.effective_depth)) return "no removal hurts";
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
    out.push_back(std::isnan(r.effective_depth) ? "No removal hurts: there is no effective depth."
                                                : "Effective depth: " + effective_depth_text(r) + ".");
  }
  if (least != nullptr && r.removed.size() > 1) {
    out.push_back(single_sentence(r, *least, *most));
    if (r.what == "layer") out.push_back(cheap_sentence(r));
  }
  for (std::string& sentence : block_sentences(r.blocks, r.loss)) out.push_back(std::move(sentence));
  for (std::string& sentence : accuracy_sentences(r.accuracies, r.what)) out.push_back(std::move(sentence));
  return out;
}

}  // namespace fathom
