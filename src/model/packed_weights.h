#pragma once
// The packed forms (gemm.h) of a model's matrices: how much memory they take, where they lie in it, and how
// they are made. Who keeps them is a WeightSource's business.

#include "core/buffer.h"
#include "model/weights.h"

namespace fathom {

/// Room for a layer's forms, or the head's, in units of 4 bytes; 0 where products under W read no packed
/// matrices (reads_packed_matrices).
template <class W>
size_t packed_layer_units(const ModelConfig& config, Packing packing);
template <class W>
size_t packed_head_units(const ModelConfig& config, Packing packing);

/// Hands out that room, from `next` on. Not where it is 0.
PackedLayer place_packed_layer(uint32_t*& next, const ModelConfig& config, Packing packing);
PackedWeight place_packed_head(uint32_t*& next, const ModelConfig& config, Packing packing);

/// Packs the matrices into the places that they were given inside of `units`. q, k, v and gate, up lie one
/// behind the other, as products read them.
template <class W>
void pack_layer(Buffer<uint32_t>& units, const PackedLayer& to, const LayerViews<W>& layer,
                const ModelConfig& config);
template <class W>
void pack_head(Buffer<uint32_t>& units, const PackedWeight& to, const W* head, const ModelConfig& config);

}  // namespace fathom
