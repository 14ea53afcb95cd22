#include "io/streamed_weights.h"

#include <algorithm>
#include <type_traits>

#include "core/error.h"
#include "core/threads.h"
#include "model/packed_weights.h"

namespace fathom {
namespace {

template <class W>
size_t bytes_of(const std::vector<ParamSpec>& list) {
  size_t bytes = 0;
  for (const ParamSpec& spec : list)
    bytes += spec.size() * (spec.is_matrix() ? sizeof(W) : sizeof(Stream<W>));
  return bytes;
}

const ParamSpec& spec_of(const std::vector<ParamSpec>& list, ParamRole role) {
  for (const ParamSpec& spec : list) {
    if (spec.role == role) return spec;
  }
  fail("internal: a parameter outside the layers is missing from the list");
}

}  // namespace

template <class W>
StreamedWeights<W>::StreamedWeights(const std::filesystem::path& model, const ModelConfig& config,
                                    size_t memory_bytes)
    : config_(config),
      list_(parameter_list(config)),
      embedding_(spec_of(list_, ParamRole::kEmbedding)),
      head_spec_(config.tie_word_embeddings ? embedding_ : spec_of(list_, ParamRole::kHead)),
      stored_(model, config, list_) {
  const size_t L = config.num_hidden_layers;
  for (size_t l = 0; l < L; ++l) layers_.push_back(layer_parameters(list_, l));

  size_t vectors = 0;
  for (const ParamSpec& spec : list_) vectors += spec.layer < 0 && !spec.is_matrix() ? spec.size() : 0;
  vectors_ = Buffer<S>(vectors);
  size_t at = 0;
  for (const ParamSpec& spec : list_) {
    if (spec.layer >= 0 || spec.is_matrix()) continue;
    S* values = vectors_.data() + at;
    stored_.read(values, spec);
    (spec.role == ParamRole::kEmbedNorm ? outer_.embed_norm : outer_.final_norm) = values;
    at += spec.size();
  }

  const size_t layer = layer_bytes(config), fixed = head_bytes(config) + 2 * layer;
  exclusive_ = false;
  size_t kept = 0;
  if (memory_bytes >= head_bytes(config) + L * layer)
    kept = L;
  else if (memory_bytes >= fixed)
    kept = std::min(L, (memory_bytes - fixed) / layer);
  else
    exclusive_ = true;
  kept_ = std::vector<Slot>(kept);
}

template <class W>
StreamedWeights<W>::~StreamedWeights() {
  // What is being read writes into the slots: wait for it, whatever becomes of it.
  for (Slot& slot : kept_) {
    if (slot.reading.valid()) slot.reading.wait();
  }
  for (Slot& slot : changing_) {
    if (slot.reading.valid()) slot.reading.wait();
  }
}

template <class W>
void StreamedWeights<W>::keep_packed(size_t memory_bytes) {
  const size_t packed = packed_bytes(config_);
  packs_ = packed > 0 && kept_.size() == layers_.size() && memory_bytes >= whole_bytes(config_) + packed;
}

template <class W>
size_t StreamedWeights<W>::packed_bytes(const ModelConfig& config) {
  return ResidentWeights<W>::packed_bytes(config, Packing::kForward);
}

template <class W>
size_t StreamedWeights<W>::layer_bytes(const ModelConfig& config) {
  const std::vector<ParamSpec> list = parameter_list(config);
  size_t most = 0;
  for (size_t l = 0; l < config.num_hidden_layers; ++l)
    most = std::max(most, bytes_of<W>(layer_parameters(list, l)));
  return most;
}

template <class W>
size_t StreamedWeights<W>::head_bytes(const ModelConfig& config) {
  return config.vocab_size * config.hidden_size * sizeof(W);
}

template <class W>
size_t StreamedWeights<W>::whole_bytes(const ModelConfig& config) {
  return head_bytes(config) + config.num_hidden_layers * layer_bytes(config);
}

template <class W>
size_t StreamedWeights<W>::least_bytes(const ModelConfig& config) {
  return std::max(2 * layer_bytes(config), head_bytes(config));
}

template <class W>
size_t StreamedWeights<W>::planned_bytes() const {
  if (exclusive_) return least_bytes(config_);
  const size_t L = layers_.size(), held = kept_.size() == L ? L : kept_.size() + 2;
  return head_bytes(config_) + held * layer_bytes(config_) + (packs_ ? packed_bytes(config_) : 0);
}

template <class W>
const W* StreamedWeights<W>::head() {
  if (head_.size() > 0) return head_.data();
  if (exclusive_) {
    for (Slot& slot : changing_) {
      finish(slot);
      slot = Slot{};
    }
  }
  Buffer<W> head(head_spec_.size());
  stored_.prefetch(head_spec_);
  stored_.read(head.data(), head_spec_);
  head_ = std::move(head);
  return head_.data();
}

template <class W>
PackedWeight StreamedWeights<W>::packed_head() {
  if (packs_ && head_units_.size() == 0) {
    head_units_ = Buffer<uint32_t>(packed_head_units<W>(config_, Packing::kForward));
    uint32_t* next = head_units_.data();
    packed_head_ = place_packed_head(next, config_, Packing::kForward);
    pack_head(head_units_, packed_head_, head(), config_);
  }
  return packed_head_;
}

template <class W>
void StreamedWeights<W>::embed(S* x, const int32_t* tokens, size_t rows, size_t C) {
  parallel_ranges(rows, 64, [&](size_t begin, size_t end) {
    std::vector<W> row(C);
    for (size_t r = begin; r < end; ++r) {
      stored_.read_rows(row.data(), embedding_, static_cast<size_t>(tokens[r]), 1);
      for (size_t c = 0; c < C; ++c) x[r * C + c] = static_cast<S>(row[c]);
    }
  });
  stored_.drop(embedding_);
}

// Waits for a slot that is being read into; a reading that failed leaves it empty. Errors: the reading's.
template <class W>
void StreamedWeights<W>::finish(Slot& slot) {
  if (!slot.reading.valid()) return;
  try {
    slot.reading.get();
  } catch (...) {
    slot.layer = kNone;
    throw;
  }
}

template <class W>
typename StreamedWeights<W>::Slot& StreamedWeights<W>::slot_for(size_t l) {
  if (l < kept_.size()) return kept_[l];
  if (changing_[0].layer == l) return changing_[0];
  if (changing_[1].layer == l) return changing_[1];
  return changing_[1 - current_];
}

template <class W>
LayerWeights<W> StreamedWeights<W>::layer(size_t l) {
  if (exclusive_) head_ = Buffer<W>();
  Slot& slot = slot_for(l);
  if (slot.layer != l) {
    if (slot.reading.valid()) slot.reading.wait();  // of a layer that was not asked for after all
    slot.reading = {};
    slot.layer = kNone;
    ++layers_read_;
    read_layer(slot, l);
    slot.layer = l;
  }
  finish(slot);
  if (&slot == &changing_[0]) current_ = 0;
  if (&slot == &changing_[1]) current_ = 1;
  return slot.views;
}

template <class W>
void StreamedWeights<W>::prefetch(size_t l) {
  if (exclusive_ && head_.size() > 0) return;  // there is no room for both
  Slot& slot = slot_for(l);
  if (slot.layer == l) return;
  if (slot.reading.valid()) slot.reading.wait();
  slot.layer = l;
  ++layers_read_;
  slot.reading = std::async(std::launch::async, [this, &slot, l] {
    const SerialScope beside_the_pool;
    read_layer(slot, l);
  });
}

template <class W>
void StreamedWeights<W>::read_layer(Slot& slot, size_t l) const {
  const std::vector<ParamSpec>& specs = layers_[l];
  const size_t count = parameter_count(specs);
  // Of each buffer only what is written takes memory.
  ensure(slot.matrices, count);
  S* vectors = nullptr;
  if constexpr (std::is_same_v<W, S>) {
    vectors = slot.matrices.data();
  } else {
    vectors = ensure(slot.vectors, count);
  }
  for (const ParamSpec& spec : specs) stored_.prefetch(spec);
  for (const ParamSpec& spec : specs) {
    if (spec.is_matrix())
      stored_.read(slot.matrices.data() + spec.offset, spec);
    else
      stored_.read(vectors + spec.offset, spec);
  }
  OuterWeights<W> none;
  std::vector<LayerViews<W>> views;
  bind_views<const W, const S>(specs, slot.matrices.data(), vectors, 1, false, none, views);
  slot.views = {views[0]};
  if (!packs_) return;
  slot.packed = Buffer<uint32_t>(packed_layer_units<W>(config_, Packing::kForward));
  uint32_t* next = slot.packed.data();
  slot.views.packed = place_packed_layer(next, config_, Packing::kForward);
  pack_layer<W>(slot.packed, slot.views.packed, views[0], config_);
}

template class StreamedWeights<double>;
template class StreamedWeights<float>;
template class StreamedWeights<bf16>;

}  // namespace fathom
