#pragma once
// Weights that nobody trains: matrices in the compute type alone, without masters; and adapters beside them.

#include <vector>

#include "model/weights.h"

namespace fathom {

/// All parameters of a model, matrices in W, vectors in the stream's type.
template <class W>
class FrozenWeights final : public WeightSource<W> {
 public:
  using S = Stream<W>;
  explicit FrozenWeights(const ModelConfig& config);

  const ModelConfig& config() const { return config_; }
  /// Every parameter of the model, by which set() is called.
  const std::vector<ParamSpec>& list() const { return list_; }
  /// Copies `values` (spec.size()), rounded to W where the parameter is a matrix.
  void set(const ParamSpec& spec, const S* values);

  OuterWeights<W> outer() override { return outer_; }
  LayerWeights<W> layer(size_t l) override { return {layers_[l]}; }

  /// Bytes that such weights take.
  static size_t bytes(const ModelConfig& config);

 private:
  ModelConfig config_;
  std::vector<ParamSpec> list_,
      placed_;  // the same parameters; placed_: with offsets into the buffer of their kind
  Buffer<W> matrices_;
  Buffer<S> vectors_;
  OuterWeights<W> outer_;
  std::vector<LayerViews<W>> layers_;
};

/// The adapters of config.lora, with masters, beside the weights of `base`, which outlives them.
template <class W>
class AdaptedWeights final : public ParameterStore<W>, public WeightSource<W> {
 public:
  AdaptedWeights(const ModelConfig& config, WeightSource<W>& base);

  OuterWeights<W> outer() override { return base_.outer(); }
  const W* head() override { return base_.head(); }
  PackedWeight packed_head() override { return base_.packed_head(); }
  void embed(Stream<W>* x, const int32_t* tokens, size_t rows, size_t C) override {
    base_.embed(x, tokens, rows, C);
  }
  LayerWeights<W> layer(size_t l) override;
  void prefetch(size_t l) override { base_.prefetch(l); }

 private:
  WeightSource<W>& base_;
  std::vector<LayerViews<W>> adapters_;  // the views of A and B alone
};

/// weight (out, in) += scale B A, for A (r, in) and B (out, r): what a model computes with the adapter beside
/// it, to rounding.
template <class S>
void fold_adapter(S* weight, const S* a, const S* b, size_t out, size_t in, const LoraConfig& lora);

}  // namespace fathom
