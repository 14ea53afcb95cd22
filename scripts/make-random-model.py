#!/usr/bin/env python3
"""Writes a Hugging Face folder of the shape of a large model with random bf16 weights: what a diagnosis of a model
larger than memory is tried on. The values are normal with standard deviation 0.02 (norms: 1), drawn once as a block of
a million that is written again and again, shifted, so that the disk is the limit and not the generator; every byte is
written, no part of the file is a hole.

    scripts/make-random-model.py OUT [--layers 30 --hidden 4096 --ffn 11008 --heads 32 --kv-heads 32 --vocab 102400]

The defaults are those of DeepSeek LLM 7B (13.8 GB)."""

import argparse
import array
import json
import math
import pathlib
import random
import sys

BLOCK = 1 << 20  # values


def bf16(values):
    """The values' bytes, rounded to nearest."""
    bits = array.array("I", array.array("f", values).tobytes())
    return array.array("H", ((b + 0x7FFF + (b >> 16 & 1)) >> 16 for b in bits)).tobytes()


def tensors(a):
    head = a.hidden // a.heads
    yield "model.embed_tokens.weight", (a.vocab, a.hidden)
    for l in range(a.layers):
        p = f"model.layers.{l}."
        yield p + "input_layernorm.weight", (a.hidden,)
        yield p + "self_attn.q_proj.weight", (a.hidden, a.hidden)
        yield p + "self_attn.k_proj.weight", (a.kv_heads * head, a.hidden)
        yield p + "self_attn.v_proj.weight", (a.kv_heads * head, a.hidden)
        yield p + "self_attn.o_proj.weight", (a.hidden, a.hidden)
        yield p + "post_attention_layernorm.weight", (a.hidden,)
        yield p + "mlp.gate_proj.weight", (a.ffn, a.hidden)
        yield p + "mlp.up_proj.weight", (a.ffn, a.hidden)
        yield p + "mlp.down_proj.weight", (a.hidden, a.ffn)
    yield "model.norm.weight", (a.hidden,)
    yield "lm_head.weight", (a.vocab, a.hidden)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    for name, default in [("layers", 30), ("hidden", 4096), ("ffn", 11008), ("heads", 32), ("kv-heads", 32),
                          ("vocab", 102400), ("context", 4096), ("seed", 1)]:
        parser.add_argument("--" + name, type=int, default=default)
    a = parser.parse_args()
    if a.out.exists():
        sys.exit(f"{a.out}: exists already")
    a.out.mkdir(parents=True)

    header, offset = {}, 0
    for name, shape in tensors(a):
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)

    rng = random.Random(a.seed)
    block = bf16(rng.gauss(0, 0.02) for _ in range(BLOCK)) * 2  # twice, so that a run of a block can begin anywhere
    ones = bf16([1.0] * a.hidden)
    with open(a.out / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for i, (name, shape) in enumerate(tensors(a)):
            left = 2 * math.prod(shape)
            if len(shape) == 1:
                file.write(ones[:left])
                continue
            at = 2 * (i * 100003 % BLOCK)  # no two tensors begin alike
            while left > 0:
                n = min(left, 2 * BLOCK)
                file.write(block[at:at + n])
                left -= n
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": a.hidden,
              "intermediate_size": a.ffn, "num_hidden_layers": a.layers, "num_attention_heads": a.heads,
              "num_key_value_heads": a.kv_heads, "vocab_size": a.vocab, "max_position_embeddings": a.context,
              "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False,
              "torch_dtype": "bfloat16"}
    (a.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"{a.out}: {offset / 1e9:.2f} GB in {len(header)} tensors")


if __name__ == "__main__":
    main()
