#pragma once
// What a diagnosis will cost, before it is begun.

#include <cstddef>
#include <cstdint>

#include <nlohmann/json_fwd.hpp>

#include "probe/diagnosis.h"
#include "probe/diagnosis_state.h"

namespace fathom {

/// Rows that go through a layer at a time where --batch does not say: the products are at full speed, and a
/// 7B model's activations of a layer stay below half a gigabyte.
inline constexpr size_t kDiagnosisRowsAtOnce = 2048;

/// Tokens that the permutation score is measured on, 0 for all: the number of whole sequences of T nearest to
/// options.permutation_tokens, at least one. What takes L^2 / 3 passes must not take half as many again
/// because two sequences have two tokens less than what was asked.
uint64_t permuted_tokens(const DiagnosisOptions& options, size_t T);
/// The same for the lens: as many whole sequences as it takes for options.lens_tokens.
uint64_t lens_tokens(const DiagnosisOptions& options, size_t T);

/// Floating-point operations of each part, over the whole text.
struct DiagnosisCost {
  double pass = 0;  ///< one whole forward pass, the head included: the unit that people think in
  double forward = 0, lens = 0, removal = 0, permutation = 0, identity = 0, gradients = 0, usefulness = 0;
  double total() const { return forward + lens + removal + permutation + identity + gradients + usefulness; }
  double passes() const { return total() / pass; }
};

/// For `tokens` tokens in sequences of T. Counts products alone, 2 a multiplication and addition; the rest
/// (norms, exponentials, sums in double) comes to a few percent.
DiagnosisCost diagnosis_cost(const DiagnosisOptions& options, const ModelConfig& config, uint64_t tokens,
                             size_t T);

/// Of a stage's cost, what its first items (layers, or pairs of them) are, for L layers: the removal of an
/// early layer takes longer than that of a late one. 0 for a stage without items.
double part_of_stage(DiagnosisStage stage, uint64_t items, size_t L);

/// What a diagnosis takes beside the weights.
struct DiagnosisMemory {
  size_t fixed = 0;            ///< whatever the text: a layer's activations, the lens's logits
  size_t per_row = 0;          ///< a token of a pass: its streams, and copies of one
  size_t spilled_per_row = 0;  ///< of which this in the spill folder
  /// Beside these, one after the other: the least squares of the usefulness, and where the text takes several
  /// passes those of all layers at once; then the gradients of all layers. What finds no room is left out of
  /// the diagnosis, with the reason.
  size_t usefulness = 0, usefulness_in_passes = 0, gradients_in_passes = 0;
  size_t bytes(size_t rows) const { return fixed + rows * (per_row - spilled_per_row); }
};
template <class W>
DiagnosisMemory diagnosis_memory(const DiagnosisOptions& options, const ModelConfig& config, size_t T);

/// FLOP a second of products of this model's shape on this machine now: a quarter of a second of them.
template <class W>
double measured_flops(const ModelConfig& config);

/// {"tflop", "passes", "seconds", "gflops", "by_part": {...}}.
nlohmann::json forecast_json(const DiagnosisCost& cost, double flops);

}  // namespace fathom
