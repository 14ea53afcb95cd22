#pragma once
// A model whose weights are read from its files as they are needed.
//
// Goals: a checkpoint of any size on a small machine: memory is bounded by two layers in the compute type, or
// by the output head, whichever is more, unless more is granted; the next layer is read while this one
// computes; the values are bit for bit those of ResidentWeights. Non-goals: training, which writes to all
// weights; many sequences of few tokens each by themselves, which would read the model for each.

#include <filesystem>
#include <future>
#include <vector>

#include "io/stored_parameters.h"
#include "model/weights.h"

namespace fathom {

template <class W>
class StreamedWeights final : public WeightSource<W> {
 public:
  using S = Stream<W>;
  /// Opens and checks the model (see StoredParameters; its errors). As many layers as fit into `memory_bytes`
  /// beside two that change and the head are kept once they were read; with all of them the model is read
  /// once. Where not even two layers and the head fit together, reading one gives up the other.
  StreamedWeights(const std::filesystem::path& model, const ModelConfig& config, size_t memory_bytes);
  ~StreamedWeights() override;

  /// Keeps the matrices packed for the products of a forward pass beside, where products read such
  /// (reads_packed_matrices) and `memory_bytes` hold all of the model twice: one that is read again and again
  /// would have to be packed as often. Before any layer is asked for.
  void keep_packed(size_t memory_bytes);

  const std::vector<ParamSpec>& list() const { return list_; }
  const StoredParameters& stored() const { return stored_; }

  /// The memory that a layer, the head, and the whole model take in compute type W.
  static size_t layer_bytes(const ModelConfig& config);
  static size_t head_bytes(const ModelConfig& config);
  static size_t whole_bytes(const ModelConfig& config);
  /// What keep_packed takes beside.
  static size_t packed_bytes(const ModelConfig& config);
  /// The least and the most that this source will take.
  static size_t least_bytes(const ModelConfig& config);
  size_t planned_bytes() const;
  size_t layers_kept() const { return kept_.size(); }
  /// Layers read from the files so far.
  size_t layers_read() const { return layers_read_; }

  OuterWeights<W> outer() override { return outer_; }
  const W* head() override;
  PackedWeight packed_head() override;
  void embed(S* x, const int32_t* tokens, size_t rows, size_t C) override;
  LayerWeights<W> layer(size_t l) override;
  void prefetch(size_t l) override;

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  struct Slot {
    size_t layer = kNone;  ///< that it holds, or that is being read into it
    Buffer<W> matrices;
    Buffer<S> vectors;  ///< empty where W is S
    Buffer<uint32_t> packed;
    LayerWeights<W> views;
    std::future<void> reading;
  };
  static void finish(Slot& slot);
  Slot& slot_for(size_t l);
  void read_layer(Slot& slot, size_t l) const;

  ModelConfig config_;
  std::vector<ParamSpec> list_;
  std::vector<std::vector<ParamSpec>> layers_;  // of each layer, offsets from 0
  ParamSpec embedding_, head_spec_;
  StoredParameters stored_;
  Buffer<S> vectors_;  // outside the layers
  OuterWeights<W> outer_;
  Buffer<W> head_;
  Buffer<uint32_t> head_units_;  // the head, packed
  PackedWeight packed_head_;
  std::vector<Slot> kept_;  // of the first layers
  Slot changing_[2];
  size_t current_ = 0;      // of changing_: the one handed out last
  bool exclusive_ = false;  // layers and head are not held together
  bool packs_ = false;
  size_t layers_read_ = 0;
};

}  // namespace fathom
