#include "model/lora.h"

#include <cmath>

#include "core/error.h"

namespace fathom {
namespace {

constexpr std::array<std::string_view, kProjections> kNames = {"q", "k", "v", "o", "gate", "up", "down"};

}  // namespace

std::string_view projection_name(Projection projection) { return kNames[static_cast<size_t>(projection)]; }

std::string projection_module(Projection projection) {
  return std::string(projection_name(projection)) + "_proj";
}

std::optional<Projection> find_projection(std::string_view name) {
  for (const Projection p : kAllProjections) {
    if (name == projection_name(p) || name == projection_module(p)) return p;
  }
  return {};
}

double LoraConfig::scale() const {
  const auto r = static_cast<double>(rank);
  return alpha / (rank_stabilized ? std::sqrt(r) : r);
}

std::array<bool, kProjections> parse_lora_targets(const std::string& text) {
  std::array<bool, kProjections> targets{};
  const auto add = [&](std::initializer_list<Projection> projections) {
    for (const Projection p : projections) targets[static_cast<size_t>(p)] = true;
  };
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    begin = end + 1;
    using enum Projection;
    if (name == "all" || name == "attn") add({kQ, kK, kV, kO});
    if (name == "all" || name == "mlp") add({kGate, kUp, kDown});
    if (name == "all" || name == "attn" || name == "mlp") continue;
    if (const auto projection = find_projection(name)) {
      add({*projection});
      continue;
    }
    std::vector<std::string> known(kNames.begin(), kNames.end());
    known.insert(known.end(), {"attn", "mlp", "all"});
    const std::string close = nearest(name, known);
    usage_error("unknown target '" + name + "' in --lora-targets",
                (close.empty() ? "" : "did you mean '" + close + "'? ") +
                    std::string("known: q, k, v, o, gate, up, down, attn, mlp, all"));
  }
  return targets;
}

}  // namespace fathom
