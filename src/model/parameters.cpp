#include "model/parameters.h"

#include <cmath>

#include "core/error.h"
#include "core/fnv.h"
#include "core/rng.h"
#include "core/threads.h"

namespace fathom {
namespace {

// Collects specs and gives each its place behind the one before.
class ListBuilder {
 public:
  ListBuilder(const ModelConfig& config, InitScheme init) : config_(config), init_(init) {}

  void matrix(ParamRole role, int layer, const std::string& name, const std::string& gguf, size_t out,
              size_t in, double std_factor = 1.0) {
    add({role,
         layer,
         name + ".weight",
         gguf + ".weight",
         {out, in},
         0,
         InitKind::kNormal,
         config_.initializer_range * std_factor,
         true,
         {}});
  }
  void vector(ParamRole role, int layer, const std::string& name, const std::string& gguf, size_t n,
              double value) {
    add({role, layer, name, gguf, {n}, 0, InitKind::kConstant, value, false, {}});
  }

  void layer(int l, const StepPlan& plan);
  std::vector<ParamSpec> take() { return std::move(list_); }

 private:
  void add(ParamSpec spec) {
    spec.offset = next_;
    next_ += spec.size();
    list_.push_back(std::move(spec));
  }

  const ModelConfig& config_;
  const InitScheme init_;
  std::vector<ParamSpec> list_;
  size_t next_ = 0;
};

// Where a step's norms stand decides their Hugging Face names: Llama's for pre-type layers, OLMo-2's for
// post-type ones, Gemma 2's for sandwiches.
void ListBuilder::layer(int l, const StepPlan& plan) {
  const ModelConfig& c = config_;
  const size_t C = c.hidden_size, F = c.intermediate_size;
  const std::string hf = "model.layers." + std::to_string(l) + ".", gg = "blk." + std::to_string(l) + ".";
  const NormScheme scheme = resolved(c.norm, c.num_hidden_layers);
  const double beta = init_factor(scheme.type, scheme.num_layers_original);
  const double out =
      beta /
      (init_ == InitScheme::kScaled ? std::sqrt(2.0 * static_cast<double>(scheme.num_layers_original)) : 1.0);
  const auto norm = [&](ParamRole role, const std::string& name, const std::string& gguf) {
    vector(role, l, hf + name + ".weight", gg + gguf + ".weight", C, 1.0);
  };
  const bool sandwich = plan.norm_in && plan.norm_out;

  if (plan.norm_in) norm(ParamRole::kAttnNormIn, "input_layernorm", "attn_norm");
  matrix(ParamRole::kQ, l, hf + "self_attn.q_proj", gg + "attn_q", c.q_size(), C);
  matrix(ParamRole::kK, l, hf + "self_attn.k_proj", gg + "attn_k", c.kv_size(), C);
  matrix(ParamRole::kV, l, hf + "self_attn.v_proj", gg + "attn_v", c.kv_size(), C, beta);
  if (c.attention_bias) {
    vector(ParamRole::kQBias, l, hf + "self_attn.q_proj.bias", gg + "attn_q.bias", c.q_size(), 0.0);
    vector(ParamRole::kKBias, l, hf + "self_attn.k_proj.bias", gg + "attn_k.bias", c.kv_size(), 0.0);
    vector(ParamRole::kVBias, l, hf + "self_attn.v_proj.bias", gg + "attn_v.bias", c.kv_size(), 0.0);
  }
  if (c.qk_norm != QkNorm::kNone) {
    vector(ParamRole::kQNorm, l, hf + "self_attn.q_norm.weight", gg + "attn_q_norm.weight", c.q_norm_size(),
           1.0);
    vector(ParamRole::kKNorm, l, hf + "self_attn.k_norm.weight", gg + "attn_k_norm.weight", c.k_norm_size(),
           1.0);
  }
  matrix(ParamRole::kO, l, hf + "self_attn.o_proj", gg + "attn_output", C, c.q_size(), out);
  if (plan.norm_out) norm(ParamRole::kAttnNormOut, "post_attention_layernorm", "post_attention_norm");
  if (plan.norm_sum) norm(ParamRole::kAttnNormSum, "post_attention_layernorm", "post_attention_norm");
  if (plan.gain) {
    vector(ParamRole::kAttnGain, l, hf + "self_attn.layer_scale", gg + "attn_scale.weight", C,
           c.norm.layerscale_init);
  }

  if (plan.norm_in) {
    norm(ParamRole::kMlpNormIn, sandwich ? "pre_feedforward_layernorm" : "post_attention_layernorm",
         "ffn_norm");
  }
  matrix(ParamRole::kGate, l, hf + "mlp.gate_proj", gg + "ffn_gate", F, C, beta);
  matrix(ParamRole::kUp, l, hf + "mlp.up_proj", gg + "ffn_up", F, C, beta);
  matrix(ParamRole::kDown, l, hf + "mlp.down_proj", gg + "ffn_down", C, F, out);
  if (plan.norm_out) norm(ParamRole::kMlpNormOut, "post_feedforward_layernorm", "post_ffw_norm");
  if (plan.norm_sum) norm(ParamRole::kMlpNormSum, "post_feedforward_layernorm", "post_ffw_norm");
  if (plan.gain) {
    vector(ParamRole::kMlpGain, l, hf + "mlp.layer_scale", gg + "ffn_scale.weight", C,
           c.norm.layerscale_init);
  }
}

}  // namespace

bool is_norm_weight(ParamRole role) {
  switch (role) {
    case ParamRole::kEmbedNorm:
    case ParamRole::kFinalNorm:
    case ParamRole::kQNorm:
    case ParamRole::kKNorm:
    case ParamRole::kAttnNormIn:
    case ParamRole::kAttnNormOut:
    case ParamRole::kAttnNormSum:
    case ParamRole::kMlpNormIn:
    case ParamRole::kMlpNormOut:
    case ParamRole::kMlpNormSum:
      return true;
    default:
      return false;
  }
}

std::optional<Projection> projection_of(ParamRole role) {
  switch (role) {
    case ParamRole::kQ:
      return Projection::kQ;
    case ParamRole::kK:
      return Projection::kK;
    case ParamRole::kV:
      return Projection::kV;
    case ParamRole::kO:
      return Projection::kO;
    case ParamRole::kGate:
      return Projection::kGate;
    case ParamRole::kUp:
      return Projection::kUp;
    case ParamRole::kDown:
      return Projection::kDown;
    default:
      return {};
  }
}

size_t ParamSpec::size() const {
  size_t n = 1;
  for (const size_t d : shape) n *= d;
  return n;
}

InitScheme parse_init(const std::string& name) {
  if (name == "normal") return InitScheme::kNormal;
  if (name == "scaled") return InitScheme::kScaled;
  usage_error("unknown init '" + name + "'", "known: normal, scaled");
}

std::vector<ParamSpec> parameter_list(const ModelConfig& c, InitScheme init) {
  ListBuilder b(c, init);
  b.matrix(ParamRole::kEmbedding, -1, "model.embed_tokens", "token_embd", c.vocab_size, c.hidden_size);
  if (has_embed_norm(c.norm.type)) {
    b.vector(ParamRole::kEmbedNorm, -1, "model.embed_norm.weight", "token_embd_norm.weight", c.hidden_size,
             1.0);
  }
  const std::vector<LayerPlan> plans = layer_plans(c.norm, c.num_hidden_layers);
  for (size_t l = 0; l < plans.size(); ++l) b.layer(static_cast<int>(l), plans[l].step);
  b.vector(ParamRole::kFinalNorm, -1, "model.norm.weight", "output_norm.weight", c.hidden_size, 1.0);
  if (!c.tie_word_embeddings)
    b.matrix(ParamRole::kHead, -1, "lm_head", "output", c.vocab_size, c.hidden_size);
  return b.take();
}

size_t parameter_count(const std::vector<ParamSpec>& list) {
  return list.empty() ? 0 : list.back().offset + list.back().size();
}

std::vector<ParamSpec> adapter_list(const ModelConfig& config) {
  std::vector<ParamSpec> list;
  size_t offset = 0;
  const auto add = [&](const ParamSpec& base, Projection adapted, bool is_a) {
    const std::string module = base.name.substr(0, base.name.rfind(".weight"));
    const size_t out = base.shape[0], in = base.shape[1], r = config.lora.rank;
    const double bound = 1.0 / std::sqrt(static_cast<double>(in));
    list.push_back({is_a ? ParamRole::kLoraA : ParamRole::kLoraB, base.layer,
                    "base_model.model." + module + (is_a ? ".lora_A.weight" : ".lora_B.weight"), "",
                    is_a ? std::vector<size_t>{r, in} : std::vector<size_t>{out, r}, offset,
                    is_a ? InitKind::kUniform : InitKind::kConstant, is_a ? bound : 0.0, true, adapted});
    offset += list.back().size();
  };
  for (const ParamSpec& spec : parameter_list(config)) {
    const auto projection = projection_of(spec.role);
    if (!projection || !config.lora.has(*projection, static_cast<size_t>(spec.layer))) continue;
    add(spec, *projection, true);
    add(spec, *projection, false);
  }
  return list;
}

std::vector<ParamSpec> choose(const std::vector<ParamSpec>& list,
                              const std::function<bool(const ParamSpec&)>& chosen) {
  std::vector<ParamSpec> part;
  size_t offset = 0;
  for (const ParamSpec& spec : list) {
    if (!chosen(spec)) continue;
    part.push_back(spec);
    part.back().offset = offset;
    offset += spec.size();
  }
  return part;
}

namespace {

double draw(const ParamSpec& spec, Rng& rng) {
  switch (spec.init) {
    case InitKind::kNormal:
      return spec.init_value * rng.normal();
    case InitKind::kUniform:
      return spec.init_value * (2 * rng.uniform() - 1);
    case InitKind::kConstant:
      return spec.init_value;
  }
  return 0;
}

}  // namespace

std::vector<ParamSpec> layer_parameters(const std::vector<ParamSpec>& list, size_t l) {
  std::vector<ParamSpec> layer;
  size_t next = 0;
  for (const ParamSpec& spec : list) {
    if (spec.layer != static_cast<int>(l)) continue;
    layer.push_back(spec);
    layer.back().layer = 0;
    layer.back().offset = next;
    next += spec.size();
  }
  return layer;
}

void initialize(float* values, const std::vector<ParamSpec>& list, uint64_t seed) {
  parallel_for(list.size(), [&](size_t i) {
    const ParamSpec& spec = list[i];
    Rng rng(seed, fnv1a(spec.name));
    for (size_t j = 0; j < spec.size(); ++j) values[spec.offset + j] = static_cast<float>(draw(spec, rng));
  });
}

}  // namespace fathom
