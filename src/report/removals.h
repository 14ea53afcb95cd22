#pragma once
// What leaving layers out costs each model, whatever file said so, and what may be said about it.

#include <string>
#include <vector>

#include "report/compare.h"

namespace fathom {

/// The removal of each layer (or of its attention or MLP alone) of one model. Nats a token.
struct Removals {
  size_t run = 0;  ///< The model's place in the comparison.
  std::string name;
  std::string what = "layer";              ///< Or "attn", "mlp".
  size_t layers = 0;                       ///< Of the model.
  double loss = kMissing;                  ///< Of the whole model.
  std::vector<RemovalRecord> removed;      ///< By layer.
  std::vector<BlockRemovalRecord> blocks;  ///< Runs of layers, where a sweep has them.
  double effective_depth = kMissing, effective_depth_ratio = kMissing;
  std::vector<AccuracyRecord> accuracies = {};  ///< On tasks, where a sweep has them.

  /// The single removal of least or of most cost; null where none is known.
  const RemovalRecord* cheapest() const;
  const RemovalRecord* dearest() const;
};

/// Of all models that have any: from its sweep, else from its diagnosis. What is of another checkpoint than
/// the model says so in its name.
std::vector<Removals> removals_of(const RunComparison& comparison);

/// Standard error of the effective depth: effective_depth_standard_error. What all costs share (a text that
/// is hard for the whole model scales them alike) does not move L, so that independence rather overstates it.
double effective_depth_stderr(const std::vector<RemovalRecord>& removed);

/// Why there is no effective depth: "no removal hurts", or a loss that is not finite, which is no cost of 0.
std::string no_depth_reason(const std::vector<RemovalRecord>& removed);

/// "6.3 +- 0.2 of 30" and `unit`, or no_depth_reason.
std::string effective_depth_text(const Removals& removals, const char* unit = " layers");

/// "+0.0862 +- 0.0110 nats".
std::string price_text(double delta, double error);

/// What removing layers costs one model, in sentences: the headline of its page.
std::vector<std::string> removal_headline(const Removals& removals);

}  // namespace fathom
