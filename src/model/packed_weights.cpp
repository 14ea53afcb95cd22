#include "model/packed_weights.h"

#include <array>
#include <utility>

namespace fathom {
namespace {

// A matrix, or a group that lies side by side, which products read as one: (out, in).
struct PackedPlace {
  PackedWeight PackedLayer::*packed;
  size_t out, in;
};

std::array<PackedPlace, 4> packed_places(const ModelConfig& c) {
  return {{{&PackedLayer::qkv, c.qkv_size(), c.hidden_size},
           {&PackedLayer::o, c.hidden_size, c.q_size()},
           {&PackedLayer::gate_up, 2 * c.intermediate_size, c.hidden_size},
           {&PackedLayer::down, c.hidden_size, c.intermediate_size}}};
}

// The first part of each place, in their order.
template <class W>
std::array<const W*, 4> first_parts(const LayerViews<W>& layer) {
  return {layer.q, layer.o, layer.gate, layer.down};
}

// Hands out room for the forms of a weight (out, in) from `next` on.
PackedWeight place_packed(uint32_t*& next, size_t out, size_t in, Packing packing) {
  PackedWeight weight;
  weight.forward = std::exchange(next, next + packed_units(in, out));
  if (packing == Packing::kTraining) weight.dgrad = std::exchange(next, next + packed_units(out, in));
  return weight;
}

template <class W>
size_t packed_units_of(size_t out, size_t in, Packing packing) {
  if (packing == Packing::kNone || !reads_packed_matrices(dtype_of<W>())) return 0;
  return packed_units(in, out) + (packing == Packing::kTraining ? packed_units(out, in) : 0);
}

// Packs a weight W (out, in) for the products that it has room for, inside of the memory that `units` owns.
template <class W>
void pack_weight(Buffer<uint32_t>& units, const PackedWeight& to, const W* weight, size_t out, size_t in) {
  const auto room = [&](const uint32_t* form) { return units.data() + (form - units.data()); };
  constexpr DType kW = dtype_of<W>();
  if (to.forward != nullptr) pack_matrix(room(to.forward), in, out, {weight, kW, in, true});
  if (to.dgrad != nullptr) pack_matrix(room(to.dgrad), out, in, {weight, kW, in, false});
}

}  // namespace

template <class W>
size_t packed_layer_units(const ModelConfig& c, Packing packing) {
  size_t units = 0;
  for (const PackedPlace& p : packed_places(c)) units += packed_units_of<W>(p.out, p.in, packing);
  return units;
}

template <class W>
size_t packed_head_units(const ModelConfig& c, Packing packing) {
  return packed_units_of<W>(c.vocab_size, c.hidden_size, packing);
}

PackedLayer place_packed_layer(uint32_t*& next, const ModelConfig& c, Packing packing) {
  PackedLayer layer;
  for (const PackedPlace& p : packed_places(c)) layer.*p.packed = place_packed(next, p.out, p.in, packing);
  return layer;
}

PackedWeight place_packed_head(uint32_t*& next, const ModelConfig& c, Packing packing) {
  return place_packed(next, c.vocab_size, c.hidden_size, packing);
}

template <class W>
void pack_layer(Buffer<uint32_t>& units, const PackedLayer& to, const LayerViews<W>& layer,
                const ModelConfig& c) {
  const auto places = packed_places(c);
  const auto parts = first_parts<W>(layer);
  for (size_t i = 0; i < places.size(); ++i)
    pack_weight(units, to.*places[i].packed, parts[i], places[i].out, places[i].in);
}

template <class W>
void pack_head(Buffer<uint32_t>& units, const PackedWeight& to, const W* head, const ModelConfig& c) {
  pack_weight(units, to, head, c.vocab_size, c.hidden_size);
}

#define FATHOM_INSTANTIATE(W)                                                              \
  template size_t packed_layer_units<W>(const ModelConfig&, Packing);                      \
  template size_t packed_head_units<W>(const ModelConfig&, Packing);                       \
  template void pack_layer<W>(Buffer<uint32_t>&, const PackedLayer&, const LayerViews<W>&, \
                              const ModelConfig&);                                         \
  template void pack_head<W>(Buffer<uint32_t>&, const PackedWeight&, const W*, const ModelConfig&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
