#include "model/norm_scheme.h"

#include <array>
#include <cmath>

#include "core/error.h"

namespace fathom {
namespace {

StepPlan pre_step() { return {.norm_in = true}; }
StepPlan post_step() { return {.norm_sum = true}; }

// The constants that a row's formula may use: l is the 1-based original index; scheme is resolved.
struct RowInput {
  const NormScheme& scheme;
  size_t l;
};

struct SchemeRow {
  NormType type;
  std::string_view name;
  std::string_view description;
  StepPlan (*step)(const RowInput&);
  bool embed_norm = false;
};

// THE table. Formulas and sources as in docs/schemes.md.
constexpr std::array kSchemes = {
    SchemeRow{NormType::kPre, "pre", "x + F(N(x)); Pre-LN, Xiong et al. 2020, arXiv:2002.04745",
              [](const RowInput&) { return pre_step(); }},
    SchemeRow{NormType::kLns, "lns",
              "x + F(N(x) / sqrt(l)); LayerNorm Scaling, Sun et al. 2025, arXiv:2502.05795",
              [](const RowInput& in) {
                StepPlan step = pre_step();
                step.in_scale = 1.0 / std::sqrt(static_cast<double>(in.l));
                return step;
              }},
    SchemeRow{NormType::kPost, "post", "N(x + F(x)); Post-LN, Vaswani et al. 2017, arXiv:1706.03762",
              [](const RowInput&) { return post_step(); }},
    SchemeRow{NormType::kDeepNorm, "deepnorm",
              "N(a x + F(x)), a = (2L)^(1/4); Wang et al. 2022, arXiv:2203.00555",
              [](const RowInput& in) {
                StepPlan step = post_step();
                step.residual = in.scheme.alpha;
                return step;
              }},
    SchemeRow{NormType::kMix, "mix", "post below, pre above; Mix-LN, Li et al. 2024, arXiv:2412.13795",
              [](const RowInput& in) { return in.l <= in.scheme.post_layers ? post_step() : pre_step(); }},
    SchemeRow{NormType::kSandwich, "sandwich", "x + N(F(N(x))); Ding et al. 2021, arXiv:2105.13290",
              [](const RowInput&) { return StepPlan{.norm_in = true, .norm_out = true}; }},
    SchemeRow{NormType::kPeri, "peri",
              "sandwich and a norm on the embedding; Peri-LN, Kim et al. 2025, arXiv:2502.02732",
              [](const RowInput&) { return StepPlan{.norm_in = true, .norm_out = true}; }, true},
    SchemeRow{NormType::kLayerScale, "layerscale",
              "x + g * F(N(x)), g learned; Touvron et al. 2021, arXiv:2103.17239",
              [](const RowInput&) { return StepPlan{.norm_in = true, .gain = true}; }},
    SchemeRow{NormType::kReordered, "reordered",
              "x + N(F(x)), the norm on what a sublayer gives; OLMo 2 2024, arXiv:2501.00656",
              [](const RowInput&) { return StepPlan{.norm_out = true}; }},
};

const SchemeRow& row_of(NormType type) {
  for (const SchemeRow& row : kSchemes) {
    if (row.type == type) return row;
  }
  fail("internal: a normalization scheme without a row in the table");
}

}  // namespace

std::string_view norm_name(NormType type) { return row_of(type).name; }
std::string_view norm_description(NormType type) { return row_of(type).description; }
bool has_embed_norm(NormType type) { return row_of(type).embed_norm; }

std::vector<std::string> norm_names() {
  std::vector<std::string> names;
  for (const SchemeRow& row : kSchemes) names.emplace_back(row.name);
  return names;
}

NormType parse_norm(const std::string& name) {
  for (const SchemeRow& row : kSchemes) {
    if (row.name == name) return row.type;
  }
  std::string known;
  for (const std::string& n : norm_names()) known += (known.empty() ? "" : ", ") + n;
  const std::string close = nearest(name, norm_names());
  usage_error("unknown normalization scheme '" + name + "'",
              (close.empty() ? "" : "did you mean '" + close + "'? ") + ("known: " + known));
}

NormScheme resolved(const NormScheme& scheme, size_t num_layers) {
  NormScheme r = scheme;
  if (r.num_layers_original == 0) r.num_layers_original = num_layers;
  if (r.layer_index.empty()) {
    for (size_t l = 1; l <= num_layers; ++l) r.layer_index.push_back(l);
  }
  const auto L = static_cast<double>(r.num_layers_original);
  if (r.type == NormType::kDeepNorm && r.alpha == 0) r.alpha = std::pow(2.0 * L, 0.25);
  if (r.type == NormType::kMix && r.post_layers == NormScheme::kDefault)
    r.post_layers = r.num_layers_original / 4;
  return r;
}

std::vector<LayerPlan> layer_plans(const NormScheme& scheme, size_t num_layers) {
  const NormScheme r = resolved(scheme, num_layers);
  if (r.layer_index.size() != num_layers) {
    fail("norm_scheme.layer_index has " + std::to_string(r.layer_index.size()) + " entries for " +
         std::to_string(num_layers) + " layers");
  }
  if (r.type == NormType::kMix && r.post_layers > r.num_layers_original) {
    fail("norm_scheme.post_layers is " + std::to_string(r.post_layers) + ", more than the " +
         std::to_string(r.num_layers_original) + " layers");
  }
  const SchemeRow& row = row_of(r.type);
  std::vector<LayerPlan> plans;
  size_t previous = 0;
  for (size_t l : r.layer_index) {
    if (l <= previous || l > r.num_layers_original) {
      fail("norm_scheme.layer_index must rise within 1.." + std::to_string(r.num_layers_original) +
           ", found " + std::to_string(l));
    }
    previous = l;
    plans.push_back({l, row.step({r, l})});
  }
  return plans;
}

double init_factor(NormType type, size_t num_layers_original) {
  return type == NormType::kDeepNorm ? std::pow(8.0 * static_cast<double>(num_layers_original), -0.25) : 1.0;
}

bool is_plain_llama(const NormScheme& scheme) { return scheme.type == NormType::kPre; }

}  // namespace fathom
