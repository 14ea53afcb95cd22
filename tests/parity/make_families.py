#!/usr/bin/env python3
"""Makes tests/parity/families/: for each family of checkpoints a tiny random model as Hugging Face `transformers` saves
it, some tokens, and the logits that `transformers` computes from them in float64.

    make_families.py [NAME...]

Needs torch and transformers; Qwen3 and Gemma 3 need transformers 4.51 or later. Written with transformers 4.57.6 and torch 2.15. The
weights' values come from a seed and are far from their initial ones: norms are not 1, so that an offset or a norm that
is forgotten shows; windows are shorter than the text; caps bend the scores.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).resolve().parent / "families"
SIZES = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 4, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 61, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
         "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
FAMILIES = {
    "llama": ("llama", {}),
    "llama3-rope": ("llama", {"rope_theta": 500.0, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16}, "tie_word_embeddings": True}),
    "linear-rope": ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "yarn-rope": ("llama", {"rope_theta": 1000.0, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}),
    "mistral": ("mistral", {"sliding_window": 5, "head_dim": 16}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True, "use_sliding_window": False}),
    "qwen3": ("qwen3", {"head_dim": 24}),
    "olmo2": ("olmo2", {}),
    "gemma2": ("gemma2", {"head_dim": 16, "sliding_window": 4, "query_pre_attn_scalar": 20,
                          "attn_logit_softcapping": 3.0, "final_logit_softcapping": 2.0}),
    "gemma3": ("gemma3_text", {"head_dim": 16, "sliding_window": 4, "query_pre_attn_scalar": 20,
                               "num_hidden_layers": 7, "rope_theta": 5000.0, "rope_local_base_freq": 50.0,
                               "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
}


def make(name):
    model_type, extra = FAMILIES[name]
    config = AutoConfig.for_model(model_type, **{**SIZES, **extra})
    config._attn_implementation = "eager"  # the only one that caps scores
    torch.manual_seed(sorted(FAMILIES).index(name))
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            spread = 0.3 if parameter.dim() == 1 else 0.2
            parameter.add_(torch.randn_like(parameter) * spread)
    folder = HERE / name
    model.save_pretrained(folder, safe_serialization=True)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokens = torch.randint(3, SIZES["vocab_size"], (2, 19))
    with torch.no_grad():
        logits = model.double()(tokens).logits
    expected = {"transformers": transformers.__version__, "tokens": tokens.tolist(),
                "logits": [[[float(f"{v:.9g}") for v in row] for row in sequence] for sequence in logits.tolist()]}
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, largest logit {logits.abs().max():.3f}")


for family in sys.argv[1:] or FAMILIES:
    make(family)
