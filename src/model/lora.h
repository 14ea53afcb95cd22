#pragma once
// Low-rank adapters (LoRA): beside a frozen projection W (out, in) two thin matrices A (r, in) and B (out,
// r), so that y = W x + scale B (A x). Only they are trained. Source: Hu et al. 2021, arXiv:2106.09685,
// section 4.1. Initial values, names and files are those of Hugging Face's PEFT (io/adapter.h), which departs
// from the paper in A's: uniform, where the paper draws it from a normal distribution.

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// The matrices of a layer that may have an adapter.
enum class Projection : size_t { kQ, kK, kV, kO, kGate, kUp, kDown };
inline constexpr size_t kProjections = 7;
inline constexpr std::array<Projection, kProjections> kAllProjections = {
    Projection::kQ,    Projection::kK,  Projection::kV,   Projection::kO,
    Projection::kGate, Projection::kUp, Projection::kDown};

/// Short name, as --lora-targets takes it ("q"), and the module's in Hugging Face's models ("q_proj").
std::string_view projection_name(Projection projection);
std::string projection_module(Projection projection);
/// By either name.
std::optional<Projection> find_projection(std::string_view name);

struct LoraConfig {
  size_t rank = 0;  ///< 0: there are no adapters
  double alpha = 0;
  bool rank_stabilized = false;  ///< scale alpha / sqrt(rank) (rsLoRA: Kalajdzievski 2023, arXiv:2312.03732)
  std::array<bool, kProjections> targets{};
  std::vector<bool> layers = {};  ///< by position, which layers have adapters; empty: all

  double scale() const;
  bool has(Projection projection) const { return rank > 0 && targets[static_cast<size_t>(projection)]; }
  bool has(Projection projection, size_t layer) const {
    return has(projection) && (layers.empty() || layers[layer]);
  }
};

/// "q,v", "attn" (q, k, v, o), "mlp" (gate, up, down), "all". Errors: Error (usage) on another name, with the
/// nearest.
std::array<bool, kProjections> parse_lora_targets(const std::string& text);

}  // namespace fathom
