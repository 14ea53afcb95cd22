# SPDX-License-Identifier: Apache-2.0
"""Fathom's models for Hugging Face `transformers` (with trust_remote_code=True): Llama with a choice of normalization.

x is the residual stream, F attention or the SwiGLU MLP, N an RMSNorm with weight, l the layer's 1-based index, L the
number of layers. Each layer takes its step twice: attention, then MLP. `norm_scheme["type"]` in config.json names it:

    pre         x + F(N(x))
    lns         x + F(N(x) / sqrt(l))                     LayerNorm Scaling, arXiv 2502.05795
    post        N(x + F(x))
    deepnorm    N(alpha x + F(x)), alpha = (2L)^(1/4)     arXiv 2203.00555; "alpha" overrides
    mix         layers 1 to post_layers `post`, the others `pre`; default floor(L/4)    arXiv 2412.13795
    sandwich    x + N(F(N(x)))
    peri        `sandwich`, and a norm on the embedding output    arXiv 2502.02732
    layerscale  x + g * F(N(x)), g a learned vector       arXiv 2103.17239
    reordered   x + N(F(x))                               OLMo 2, arXiv 2501.00656

A pruned model says "layer_index", its layers' 1-based indices in the original, and "num_layers_original": each layer
keeps the scale and the kind that it was trained with. Nothing that a scheme needs is kept in a buffer: scales are
Python numbers and RoPE's angles are computed at use, because loading replaces the storage of buffers.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

# Names of a layer's norms, for the attention step and for the MLP step: (on F's input, on F's output, on the sum).
PRE = (("input_layernorm", None, None), ("post_attention_layernorm", None, None))
POST = ((None, None, "post_attention_layernorm"), (None, None, "post_feedforward_layernorm"))
SANDWICH = (
    ("input_layernorm", "post_attention_layernorm", None),
    ("pre_feedforward_layernorm", "post_feedforward_layernorm", None),
)
REORDERED = ((None, "post_attention_layernorm", None), (None, "post_feedforward_layernorm", None))
# `mix` is POST or PRE by layer.
PLACEMENT = {"pre": PRE, "lns": PRE, "layerscale": PRE, "post": POST, "deepnorm": POST, "mix": None,
             "sandwich": SANDWICH, "peri": SANDWICH, "reordered": REORDERED}
SCHEME_KEYS = {"type", "alpha", "post_layers", "num_layers_original", "layer_index", "layerscale_init"}


class FathomConfig(PretrainedConfig):
    """Llama's config.json keys and `norm_scheme`. What this file does not compute is refused, never ignored."""

    model_type = "fathom"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, vocab_size=32000, hidden_size=768, intermediate_size=2048, num_hidden_layers=12,
                 num_attention_heads=12, num_key_value_heads=None, head_dim=None, hidden_act="silu",
                 max_position_embeddings=1024, initializer_range=0.02, rms_norm_eps=1e-6, rope_theta=10000.0,
                 rope_scaling=None, attention_bias=False, mlp_bias=False, sliding_window=None,
                 tie_word_embeddings=False, use_cache=True, norm_scheme=None, **kwargs):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads or num_attention_heads
        self.head_dim = head_dim or hidden_size // num_attention_heads
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.rms_norm_eps = rms_norm_eps
        self.rope_theta = rope_theta
        self.attention_bias = attention_bias  # on q, k and v, as Qwen2; never on o
        self.sliding_window = sliding_window  # keys that a query sees, itself included, as Mistral; None or 0: all
        self.use_cache = use_cache
        self.norm_scheme = dict(norm_scheme or {"type": "pre"})

        kind = self.norm_scheme.get("type")
        if kind not in PLACEMENT:
            raise ValueError(f"config.json: norm_scheme type {kind!r} is unknown; known: {', '.join(PLACEMENT)}")
        if unknown := set(self.norm_scheme) - SCHEME_KEYS:
            raise ValueError(f"config.json: norm_scheme has keys this file does not know: {sorted(unknown)}")
        if len(self.layer_index) != num_hidden_layers:
            raise ValueError(f"config.json: norm_scheme's layer_index has {len(self.layer_index)} entries for "
                             f"{num_hidden_layers} layers")
        if hidden_act != "silu" or rope_scaling is not None or mlp_bias:
            raise ValueError("config.json: this file computes hidden_act 'silu', without rope_scaling and mlp_bias")
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
        self.tie_word_embeddings = tie_word_embeddings

    @property
    def layer_index(self):
        """The layers' 1-based indices in the original model."""
        return self.norm_scheme.get("layer_index", list(range(1, self.num_hidden_layers + 1)))

    @property
    def num_layers_original(self):
        return self.norm_scheme.get("num_layers_original", self.num_hidden_layers)


class FathomRMSNorm(nn.Module):
    """y = weight * x / sqrt(mean(x^2) + eps), the statistics in float32."""

    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * y.to(x.dtype)


def rotate(x, position_ids, theta):
    """RoPE on x (B, heads, T, head_dim) at position_ids (B, T): pairs (i, i + head_dim/2), as `transformers`' Llama."""
    half = x.shape[-1] // 2
    frequency = theta ** (-torch.arange(half, dtype=torch.float32, device=x.device) / half)
    angle = position_ids[:, None, :, None].float() * frequency
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class FathomAttention(nn.Module):
    """Causal attention with grouped KV heads; softmax in float32."""

    def __init__(self, config, place):
        super().__init__()
        self.place, self.head_dim, self.rope_theta = place, config.head_dim, config.rope_theta
        self.groups = config.num_attention_heads // config.num_key_value_heads
        q_size, kv_size = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, q_size, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, kv_size, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_size, bias=config.attention_bias)
        self.o_proj = nn.Linear(q_size, config.hidden_size, bias=False)
        if config.norm_scheme["type"] == "layerscale":
            self.layer_scale = nn.Parameter(torch.full((config.hidden_size,), 0.1))

    def forward(self, x, hidden, position_ids, cache):
        """x (B, T, C); hidden (B or 1, 1, T, keys) is True where a query must not look."""
        batch, length, _ = x.shape

        def heads(y):
            return y.view(batch, length, -1, self.head_dim).transpose(1, 2)

        q = rotate(heads(self.q_proj(x)), position_ids, self.rope_theta)
        k = rotate(heads(self.k_proj(x)), position_ids, self.rope_theta)
        v = heads(self.v_proj(x))
        if cache is not None:
            k, v = cache.update(k, v, self.place)
        k, v = k.repeat_interleave(self.groups, dim=1), v.repeat_interleave(self.groups, dim=1)
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(self.head_dim)
        # The lowest number, not -inf: a row of left padding looks nowhere, and would be NaN.
        # A cache for a sliding window keeps the latest keys only.
        scores = scores.masked_fill(hidden[..., -k.shape[2] :], torch.finfo(scores.dtype).min)
        mixed = scores.softmax(-1, dtype=torch.float32).to(v.dtype) @ v
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


class FathomMLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        if config.norm_scheme["type"] == "layerscale":
            self.layer_scale = nn.Parameter(torch.full((config.hidden_size,), 0.1))

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class FathomLayer(nn.Module):
    """One layer under any scheme: which norms stand where, and the factors on the norms and on the stream."""

    def __init__(self, config, place):
        super().__init__()
        scheme, index = config.norm_scheme, config.layer_index[place]
        kind = scheme["type"]
        if kind == "mix":
            kind = "post" if index <= scheme.get("post_layers", config.num_layers_original // 4) else "pre"
        self.scale = 1 / math.sqrt(index) if kind == "lns" else 1.0
        self.alpha = scheme.get("alpha", (2 * config.num_layers_original) ** 0.25) if kind == "deepnorm" else 1.0
        self.attention_norms, self.mlp_norms = PLACEMENT[kind]
        for name in self.attention_norms + self.mlp_norms:
            if name:
                setattr(self, name, FathomRMSNorm(config.hidden_size, config.rms_norm_eps))
        self.self_attn = FathomAttention(config, place)
        self.mlp = FathomMLP(config)

    def step(self, x, sublayer, norms, *args):
        on_input, on_output, on_sum = (getattr(self, name) if name else None for name in norms)
        y = sublayer(on_input(x) * self.scale if on_input else x, *args)
        if on_output:
            y = on_output(y)
        if hasattr(sublayer, "layer_scale"):
            y = sublayer.layer_scale * y
        x = self.alpha * x + y
        return on_sum(x) if on_sum else x

    def forward(self, x, hidden, position_ids, cache):
        x = self.step(x, self.self_attn, self.attention_norms, hidden, position_ids, cache)
        return self.step(x, self.mlp, self.mlp_norms)


class FathomModel(nn.Module):
    """Embedding, layers and final norm; forward takes the embedded tokens (B, T, C)."""

    def __init__(self, config):
        super().__init__()
        self.window = config.sliding_window
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        peri = config.norm_scheme["type"] == "peri"
        self.embed_norm = FathomRMSNorm(config.hidden_size, config.rms_norm_eps) if peri else None
        self.layers = nn.ModuleList(FathomLayer(config, place) for place in range(config.num_hidden_layers))
        self.norm = FathomRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x, attention_mask, position_ids, cache):
        past = cache.get_seq_length() if cache is not None else 0
        key = torch.arange(past + x.shape[1], device=x.device)
        query = key[past:]
        hidden = (key > query[:, None])[None, None]
        if self.window:
            hidden = hidden | (key <= query[:, None] - self.window)
        if attention_mask is not None:
            hidden = hidden | (attention_mask == 0)[:, None, None, :]
        if position_ids is None:
            position_ids = query[None]
        if self.embed_norm is not None:
            x = self.embed_norm(x)
        for layer in self.layers:
            x = layer(x, hidden, position_ids, cache)
        return self.norm(x)


class FathomForCausalLM(PreTrainedModel, GenerationMixin):
    """The language model. With tied embeddings there is no lm_head: the embedding is used as it stands."""

    config_class = FathomConfig
    base_model_prefix = "model"
    _no_split_modules = ["FathomLayer"]
    _supports_cache_class = True

    def __init__(self, config):
        super().__init__(config)
        self.model = FathomModel(config)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def _init_weights(self, module):
        """Normal with initializer_range; norms stay 1. (Fathom itself has the schemes' own inits.)"""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return getattr(self, "lm_head", None)

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, labels=None, use_cache=None, return_dict=None, cache_position=None):
        """input_ids, labels (B, T); inputs_embeds (B, T, C) instead of ids, before any embed_norm; attention_mask
        (B, T with the cached tokens), 0 at padding. Returns logits (B, T, V), the cache if there is one or use_cache
        asks for it, and with labels the mean cross-entropy in nats of each position's next label, -100 left out.
        cache_position is generate()'s; the cache itself says the same."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        x = self.model.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        x = self.model(x, attention_mask, position_ids, past_key_values)
        head = self.model.embed_tokens.weight if self.config.tie_word_embeddings else self.lm_head.weight
        logits = F.linear(x, head)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=-100)
        if return_dict is False:
            return tuple(value for value in (loss, logits, past_key_values) if value is not None)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)
