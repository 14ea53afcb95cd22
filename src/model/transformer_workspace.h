#pragma once
// Internal to model/: what the forward and the backward side of Transformer share.

#include <vector>

#include "core/arena.h"
#include "kernels/cross_entropy.h"
#include "kernels/rmsnorm.h"
#include "kernels/vector_ops.h"
#include "model/transformer.h"

namespace fathom {

/// Rows that pass the head at a time. A constant, so that the head's own chunks fall on the same rows however
/// the layers are run.
inline constexpr size_t kHeadRows = 8 * kHeadChunkRows;

/// The memory of a pass. Laid out over an empty arena it is the forecast; over a real one it is the run.
template <class W>
struct Transformer<W>::Workspace {
  enum class Kind { kInference, kTraining, kRecompute, kLinearized };

  Workspace(Kind kind_, const ModelConfig& config, const std::vector<LayerPlan>& plans, size_t rows_,
            bool count_only, size_t first_layer_ = 0)
      : kind(kind_), rows(rows_), first_layer(first_layer_) {
    if (!count_only) {
      Arena counter;
      lay_out(counter, config, plans);
      arena = Arena(counter.peak());
    }
    lay_out(arena, config, plans);
  }

  void lay_out(Arena& a, const ModelConfig& c, const std::vector<LayerPlan>& plans) {
    const size_t n = rows * c.hidden_size, L = plans.size();
    const bool keep_all = kind == Kind::kTraining, keep_inputs = keep_all || kind == Kind::kRecompute;
    streams.clear();
    saved.clear();
    for (size_t l = 0; l < (keep_inputs ? L + 1 : 1); ++l) {
      // Below the first layer that is trained, inputs are not kept: two streams take turns.
      const bool passes = keep_inputs && l >= 2 && l < first_layer;
      streams.push_back(passes ? streams[l - 2] : a.take<S>(n));
    }
    saved.resize(keep_all ? L : 0);
    for (size_t l = first_layer; l < saved.size(); ++l)
      saved[l] = take_block_saved<W>(a, c, plans[l].step, rows);
    if (!keep_all || first_layer > 0) {
      // One layer at a time: room for whichever plan needs the most, laid out anew for each by saved_for().
      shared_begin = a.mark();
      for (const LayerPlan& plan : plans) {
        a.release(shared_begin);
        take_block_saved<W>(a, c, plan.step, rows);
      }
      a.release(a.peak());
    }
    normed = a.take<W>(n);
    rstd = a.take<S>(rows);
    if (has_embed_norm(c.norm.type)) {
      raw_embedding = a.take<S>(n);
      embedding_rstd = a.take<S>(rows);
    }
    if (kind != Kind::kInference) {
      dx = a.take<S>(n);
      scratch = take_block_scratch<W>(a, c, rows);
    }
  }

  BlockSaved<W>& saved_for(size_t l, const ModelConfig& c, const std::vector<LayerPlan>& plans) {
    if (kind == Kind::kTraining && l >= first_layer) return saved[l];
    const size_t end = arena.mark();
    arena.release(shared_begin);
    shared = take_block_saved<W>(arena, c, plans[l].step, rows);
    arena.release(end);
    return shared;
  }

  Kind kind;
  size_t rows;
  size_t first_layer;  // training: the lowest that a backward pass reaches
  Arena arena;
  std::vector<S*>
      streams;  // training: the input of each layer and the last output; otherwise one scratch stream
  std::vector<BlockSaved<W>> saved;  // training: of each layer
  BlockSaved<W> shared;              // otherwise: of the layer that runs
  size_t shared_begin = 0;
  W* normed = nullptr;  // (rows, C) final norm's output
  S* rstd = nullptr;
  S* raw_embedding = nullptr;  // (rows, C) before the embedding norm
  S* embedding_rstd = nullptr;
  S* dx = nullptr;
  BlockScratch<W> scratch;
  size_t layer = 0;  // linearized: which layer, and for what batch
  BlockContext<W> context{};
};

/// x = embedding of the tokens (rows); raw and rstd are kept where the embedding is normalized.
template <class W>
void embed_tokens(Stream<W>* x, Stream<W>* raw, Stream<W>* rstd, WeightSource<W>& source,
                  const int32_t* tokens, size_t rows, const ModelConfig& config) {
  using S = Stream<W>;
  const size_t C = config.hidden_size;
  const S* norm = source.outer().embed_norm;
  if (norm == nullptr) {
    source.embed(x, tokens, rows, C);
  } else {
    source.embed(raw, tokens, rows, C);
    rmsnorm_forward(x, rstd, raw, norm, S(1), static_cast<S>(config.rms_norm_eps), rows, C);
  }
  if (config.embedding_scale != 1.0) scaled_copy(x, x, static_cast<S>(config.embedding_scale), rows * C);
}

}  // namespace fathom
