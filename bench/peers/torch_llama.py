#!/usr/bin/python3
"""The peer that `make bench` measures Fathom against: one training step of a Llama model in PyTorch.

Written as a competent user would write it for a CPU: modules and formulas as in Hugging Face's Llama, weights in
float32 under bf16 autocast, scaled_dot_product_attention where this torch has it (2.0 on; Debian 12 has 1.13), AdamW,
no copies beyond what autocast makes. Times whole steps (forward, backward, optimizer) on random tokens and prints one
line of JSON; a tokens/s is that of the median step.
"""

import argparse
import ctypes
import json
import math
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x, cos, sin):
    """RoPE on (B, heads, T, head_dim), pairs (i, i + head_dim/2)."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, self.heads = config["hidden_size"], config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.head_dim = config.get("head_dim") or hidden // self.heads
        self.q_proj = nn.Linear(hidden, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(hidden, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(hidden, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, hidden, bias=False)

    def forward(self, x, cos, sin, mask):
        batch, length, _ = x.shape
        q = rotate(self.q_proj(x).view(batch, length, self.heads, self.head_dim).transpose(1, 2), cos, sin)
        k = rotate(self.k_proj(x).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        if self.kv_heads != self.heads:
            k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)
            v = v.repeat_interleave(self.heads // self.kv_heads, dim=1)
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = ((q @ k.transpose(-1, -2)) / math.sqrt(self.head_dim) + mask).softmax(-1) @ v
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config["hidden_size"], config["intermediate_size"], bias=False)
        self.up_proj = nn.Linear(config["hidden_size"], config["intermediate_size"], bias=False)
        self.down_proj = nn.Linear(config["intermediate_size"], config["hidden_size"], bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = RMSNorm(config["hidden_size"], config["rms_norm_eps"])
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config["hidden_size"], config["rms_norm_eps"])
        self.mlp = MLP(config)

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, config, length, dtype):
        super().__init__()
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = RMSNorm(config["hidden_size"], config["rms_norm_eps"])
        self.lm_head = nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)
        if config.get("tie_word_embeddings"):
            self.lm_head.weight = self.embed_tokens.weight
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=config.get("initializer_range", 0.02))
        head_dim = self.layers[0].self_attn.head_dim
        frequency = config.get("rope_theta", 10000.0) ** (-torch.arange(0, head_dim, 2).float() / head_dim)
        angle = torch.outer(torch.arange(length).float(), frequency).repeat(1, 2)
        self.register_buffer("cos", angle.cos().to(dtype), persistent=False)
        self.register_buffer("sin", angle.sin().to(dtype), persistent=False)
        self.register_buffer("mask", torch.full((length, length), -math.inf).triu(1).to(dtype), persistent=False)

    def forward(self, ids):
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin, self.mask)
        return self.lm_head(self.norm(x))


def train_step(model, optimizer, batches, autocast):
    """One optimizer step over the micro-batches of (B, T + 1) ids; returns the mean loss in nats."""
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for ids in batches:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten()) / len(batches)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


def keep_freed_memory():
    """Makes glibc's malloc keep what is freed. Otherwise each large tensor is a fresh mapping, whose page faults can
    cost more than the arithmetic (PyTorch's tuning guide recommends another malloc for the same reason)."""
    m_trim_threshold, m_mmap_max = -1, -4
    libc = ctypes.CDLL(None)
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, 2**31 - 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="a config.json, such as configs/llama-130m.json")
    parser.add_argument("--batch", type=int, default=8, help="sequences a micro-batch")
    parser.add_argument("--seq", type=int, default=256)
    parser.add_argument("--grad-accum", type=int, default=1, help="micro-batches a step")
    parser.add_argument("--steps", type=int, default=5, help="steps that are timed")
    parser.add_argument("--warmup", type=int, default=1, help="steps before them")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16", help="bf16: autocast over float32 weights")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model (torch 2.0 on)")
    args = parser.parse_args()

    keep_freed_memory()
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    config = json.loads(args.config.read_text())
    bf16 = args.dtype == "bf16"
    model = Llama(config, args.seq, torch.bfloat16 if bf16 else torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    if args.compile:
        if not hasattr(torch, "compile"):
            parser.error(f"torch {torch.__version__} has no torch.compile")
        model = torch.compile(model)

    shape = (args.batch, args.seq + 1)
    seconds = []
    for step in range(args.warmup + args.steps):
        batches = [torch.randint(config["vocab_size"], shape) for _ in range(args.grad_accum)]
        start = time.perf_counter()
        loss = train_step(model, optimizer, batches, bf16)
        if step >= args.warmup:
            seconds.append(time.perf_counter() - start)
    tokens = args.batch * args.seq * args.grad_accum
    rates = [tokens / s for s in seconds]
    print(json.dumps({
        "tokens_per_second": round(statistics.median(rates), 1), "all": [round(rate, 1) for rate in rates],
        "step_seconds": round(statistics.median(seconds), 4), "torch": torch.__version__, "dtype": args.dtype,
        "threads": args.threads, "batch": args.batch, "seq": args.seq, "grad_accum": args.grad_accum, "loss": loss}))


if __name__ == "__main__":
    main()
