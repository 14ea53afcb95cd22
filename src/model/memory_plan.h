#pragma once
// What training takes of the memory, part by part, before anything is allocated: the sizes are those that the
// code which runs lays out.

#include <cstddef>

#include "model/transformer.h"

namespace fathom {

struct MemoryOptions {
  bool recompute = false;
  bool bf16_state = false;  ///< AdamW's moments in bf16
  /// What is trained where that is not everything: a part of the parameters (choose()). With adapters
  /// (config.lora) they alone are trained, beside weights in the compute type, and this is not looked at.
  const std::vector<ParamSpec>* trained = nullptr;
  bool packed = false;        ///< keeps the matrices packed for products (ResidentWeights::keep_packed)
  bool evaluates = false;     ///< runs the forward beside training, on micro-batches of the same size
  size_t step_sequences = 0;  ///< whose ids a step holds at a time; 0: one micro-batch
};

/// Bytes. What the program itself takes (code, libraries, the heap's small things) is not part of it.
struct MemoryPlan {
  size_t parameters = 0;  ///< masters and the bf16 copy; of weights beside adapters the latter alone
  size_t packed = 0;      ///< the matrices once more, as products read them
  size_t gradients = 0;
  size_t optimizer = 0;    ///< two moments
  size_t activations = 0;  ///< what backward needs, and the scratch that layers share
  size_t logits = 0;       ///< the head's chunk
  size_t evaluation = 0;   ///< the forward's own workspace
  size_t scratch = 0;      ///< of the kernels (packed matrices, attention), the rotation's table, token ids
  size_t total() const {
    return parameters + packed + gradients + optimizer + activations + logits + evaluation + scratch;
  }
};

/// For micro-batches of B sequences of T tokens in compute type W, with the threads and the instruction set
/// in force.
template <class W>
MemoryPlan plan_memory(const ModelConfig& config, size_t B, size_t T, const MemoryOptions& options = {});

}  // namespace fathom
