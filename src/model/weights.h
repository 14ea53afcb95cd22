#pragma once
// Views of weights, and who hands them out. The block reads views; an optimizer, a memory map or a
// dequantizer that holds one layer at a time may stand behind a WeightSource.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/buffer.h"
#include "core/types.h"
#include "kernels/cross_entropy.h"
#include "model/parameters.h"

namespace fathom {

/// A step's vectors (C each); null where the plan has none. P is `const S` for weights, `S` for gradients.
template <class P>
struct StepVectors {
  P* norm_in = nullptr;
  P* norm_out = nullptr;
  P* norm_sum = nullptr;
  P* gain = nullptr;
};

/// An adapter's matrices (lora.h): A (r, in), B (out, r); null where the projection has none.
template <class M>
struct LoraPair {
  M *a = nullptr, *b = nullptr;
};

/// One layer. M is the matrices' element type, P the vectors': (const W, const S) for weights, (S, S) for
/// gradients. Shapes: q (NH*HS, C); k, v (NKV*HS, C); o (C, NH*HS); gate, up (F, C); down (C, F); biases
/// (rows of their matrix); q_norm, k_norm: see ModelConfig::q_norm_size().
template <class M, class P>
struct LayerTensors {
  StepVectors<P> attn, mlp;
  M *q = nullptr, *k = nullptr, *v = nullptr, *o = nullptr;
  M *gate = nullptr, *up = nullptr, *down = nullptr;
  P *q_bias = nullptr, *k_bias = nullptr, *v_bias = nullptr;
  P *q_norm = nullptr, *k_norm = nullptr;
  std::array<LoraPair<M>, kProjections> lora{};  ///< by Projection
};

/// What stands outside the layers. head is the embedding where the two are tied; embed_norm is null where
/// there is none.
template <class M, class P>
struct OuterTensors {
  M *embedding = nullptr, *head = nullptr;
  P *embed_norm = nullptr, *final_norm = nullptr;
};

/// The packed forms (gemm.h) of a layer's matrices; those of q, k, v and of gate, up as one each.
struct PackedLayer {
  PackedWeight qkv, o, gate_up, down;
};

template <class W>
using LayerViews = LayerTensors<const W, const Stream<W>>;
template <class W>
struct LayerWeights : LayerViews<W> {
  PackedLayer packed{};
};
template <class S>
using LayerGradients = LayerTensors<S, S>;
template <class W>
using OuterWeights = OuterTensors<const W, const Stream<W>>;
template <class S>
using OuterGradients = OuterTensors<S, S>;

/// Hands out weights layer by layer, in the compute type W. A source that holds a part of the model at a time
/// has no table of embeddings to point at: rows are looked up, and the head is asked for by itself.
template <class W>
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// The vectors; embedding and head may be null, see embed() and head().
  virtual OuterWeights<W> outer() = 0;
  /// (V, C); valid until the next call of layer().
  virtual const W* head() { return outer().head; }
  virtual PackedWeight packed_head() { return {}; }
  /// x (rows, C) = the embedding's rows of the tokens, which the caller has checked.
  virtual void embed(Stream<W>* x, const int32_t* tokens, size_t rows, size_t C);
  /// Weights of the layer at 0-based position `l`; valid until the next call of layer() or head(). Errors:
  /// Error where the layer has to be read and cannot be.
  virtual LayerWeights<W> layer(size_t l) = 0;
  /// Tells that layer `l` will be asked for next, so that reading it can begin.
  virtual void prefetch(size_t l) { static_cast<void>(l); }
};

/// Parameters in memory, flat: masters in the stream's type and, under bf16, a rounded copy for the products.
template <class W>
class ParameterStore {
 public:
  using S = Stream<W>;
  explicit ParameterStore(std::vector<ParamSpec> list);

  const std::vector<ParamSpec>& list() const { return list_; }
  size_t count() const { return count_; }

  /// The masters, flat, in the order of list(). After writing to them call refresh().
  S* values() { return values_.data(); }
  const S* values() const { return values_.data(); }
  S* values(const ParamSpec& spec) { return values_.data() + spec.offset; }
  /// The bf16 copy, flat, or null where the masters themselves are computed with.
  bf16* copy();
  /// Rounds the masters into the copy; nothing to do for fp32 and double.
  void refresh();

 protected:
  /// What products read, flat: the copy, or the masters themselves.
  const W* compute() const;

 private:
  std::vector<ParamSpec> list_;
  size_t count_ = 0;
  Buffer<S> values_;
  Buffer<W> copy_;  // empty where W is S
};

/// Which packed forms of the matrices are kept: none, those that a forward reads, those of training too.
enum class Packing { kNone, kForward, kTraining };

/// All parameters of a model in memory.
template <class W>
class ResidentWeights final : public ParameterStore<W>, public WeightSource<W> {
 public:
  using S = Stream<W>;
  explicit ResidentWeights(const ModelConfig& config, InitScheme init = InitScheme::kNormal);

  const ModelConfig& config() const { return config_; }
  OuterWeights<W> outer() override { return outer_; }
  LayerWeights<W> layer(size_t l) override { return {layers_[l], packed_[l]}; }
  PackedWeight packed_head() override { return packed_head_; }

  /// Packs the matrices of the values in force, where products read packed ones (reads_packed_matrices), and
  /// keeps them beside. After a change of the values call pack(), or they go on computing with the old ones.
  void keep_packed(Packing packing);
  /// Packs anew what is kept, from layer `first_layer` (0-based) on, and the head.
  void pack(size_t first_layer = 0);
  /// Bytes that keep_packed takes.
  static size_t packed_bytes(const ModelConfig& config, Packing packing);

 private:
  ModelConfig config_;
  OuterWeights<W> outer_;
  std::vector<LayerViews<W>> layers_;
  std::vector<PackedLayer> packed_;
  PackedWeight packed_head_;
  Buffer<uint32_t> packed_units_;
};

/// Gradients of the parameters that are trained, flat in the order of their list, with views; the views of
/// what is frozen are null, and cost the backward pass no product.
template <class S>
class Gradients {
 public:
  /// `trained`: all parameters, a part of them (choose()), or those of adapters.
  Gradients(const ModelConfig& config, const std::vector<ParamSpec>& trained);
  S* values() { return values_.data(); }
  const S* values() const { return values_.data(); }
  size_t count() const { return values_.size(); }
  /// Sets all to 0.
  void zero() { values_.zero(); }
  /// Begins a new sum: as zero(), but for the projections and a head that is the embedding too, which the
  /// next forward_backward writes in place of adding to them. Until then they are the old sum's.
  void begin();
  /// Whether begin() was called and no pass has asked since.
  bool take_fresh() { return std::exchange(fresh_, false); }
  OuterGradients<S> outer() const { return outer_; }
  LayerGradients<S> layer(size_t l) const { return layers_[l]; }
  /// The lowest layer that a backward pass must reach: see first_trained_layer().
  size_t first_layer() const { return first_layer_; }

 private:
  Buffer<S> values_;
  std::vector<ParamSpec> added_to_;  // what no single product makes
  bool fresh_ = false;
  size_t first_layer_;
  OuterGradients<S> outer_;
  std::vector<LayerGradients<S>> layers_;
};

/// The 0-based position of the lowest layer that a backward pass must reach, given what is trained: 0 where
/// the embedding is, num_layers where nothing below the final norm is.
size_t first_trained_layer(const std::vector<ParamSpec>& trained, size_t num_layers);

/// The view of one parameter: `m` where it is a matrix, `v` where it is a vector.
template <class M, class P>
void bind_view(const ParamSpec& spec, M* m, P* v, OuterTensors<M, P>& outer,
               std::vector<LayerTensors<M, P>>& layers);

/// The views onto flat arrays of matrices and vectors (which may be the same array), in the order of `list`.
template <class M, class P>
void bind_views(const std::vector<ParamSpec>& list, M* matrices, P* vectors, size_t num_layers, bool tied,
                OuterTensors<M, P>& outer, std::vector<LayerTensors<M, P>>& layers);

}  // namespace fathom
