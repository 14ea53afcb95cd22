#!/usr/bin/env python3
"""Writes run directories that look like those of `fathom train` and `fathom prune --sweep`, for tests of the report.

    make_runs.py FOLDER [--runs pre,lns] [--layers 24] [--steps 1000]

The numbers are made up, with the shapes that real runs have: loss falling as a power of the step, validation losses of
the runs that move together from sequence to sequence, variance that grows with depth in Pre-LN and hardly in LNS.
"""
import argparse
import json
import math
import random
from pathlib import Path

SEQUENCES, SEQ, TOKENS_PER_STEP = 128, 256, 16384
# Scheme: how far below the Pre-LN loss it ends (nats), the layer variance's growth, the removal cost's evenness.
SCHEMES = {"pre": (0.0, 2.0, 0.0), "lns": (-0.06, 0.7, 0.55), "peri": (-0.03, 1.0, 0.35), "post": (0.21, 0.05, 0.8),
           "sandwich": (-0.02, 1.0, 0.3), "deepnorm": (0.08, 0.1, 0.7), "mix": (-0.01, 1.6, 0.2),
           "layerscale": (0.003, 1.3, 0.15)}


def mean_loss(step, steps, gap):
    progress = step / steps
    return 3.35 + 5.0 * math.exp(-step / (0.03 * steps)) + 0.9 * (1 - progress) ** 1.5 + gap * progress


def variance(scheme, layer, layers, step, steps):
    growth = SCHEMES[scheme][1]
    return 0.02 + 0.4 * (step / steps + 0.05) * (layer ** growth) * (1.02 ** layer if growth > 1.5 else 1)


def write_run(folder, scheme, layers, steps, seed=42, probes=True, sweep=True):
    rng = random.Random(f"{scheme}-{layers}")
    folder.mkdir(parents=True)
    (folder / "evals").mkdir()
    (folder / "config.json").write_text(json.dumps({
        "model_type": "fathom", "num_hidden_layers": layers, "hidden_size": 192, "intermediate_size": 512,
        "num_attention_heads": 6, "vocab_size": 4096, "tie_word_embeddings": True, "norm_scheme": {"type": scheme}}))
    (folder / "run.toml").write_text(
        f'norm = "{scheme}"\ninit = "normal"\nseed = {seed}\nsteps = {steps}\nlr = 0.001\nbatch = 64\ngrad_accum = 1\n'
        f'seq = {SEQ}\ndtype = "bf16"\nmodel = "configs/deep-10m.json"\ndata = "data/corpus"\n'
        'data_fingerprint = "5bd1e995c0ffee42"\nparameters = 11426880\nstarted = 2025-11-23T22:41:07\n'
        'fathom_version = "0.1.0"\ncpu = "Intel(R) Xeon(R) Processor"\nthreads = 2\n')
    texts = random.Random("texts")  # The same text is as hard for all runs.
    hardness = [texts.gauss(0, 0.35) for _ in range(SEQUENCES)]
    gap = SCHEMES[scheme][0]
    with open(folder / "metrics.jsonl", "w") as out:
        for step in range(1, steps + 1):
            loss = mean_loss(step, steps, gap)
            line = {"step": step, "tokens": step * TOKENS_PER_STEP, "loss": loss + rng.gauss(0, 0.05),
                    "lr": 0.001 * min(1, step / 100), "grad_norm": 0.4 + rng.random() * 0.1 + 4 / step,
                    "tokens_per_second": 8150 + rng.gauss(0, 120) - (400 if scheme == "lns" else 0), "mfu": 0.31}
            if step % (steps // 20) == 0:
                count = [SEQ - 1] * (SEQUENCES - 1) + [97]
                nll = [c * (loss + 0.04 + h + rng.gauss(0, 0.02)) for c, h in zip(count, hardness)]
                line["val_loss"] = sum(nll) / sum(count)
                line["val_ppl"] = math.exp(line["val_loss"])
                line["val_loss_stderr"] = 0.031
                evaluation = {key: line[key] for key in ("step", "tokens", "val_loss", "val_ppl", "val_loss_stderr")}
                evaluation |= {"seq": SEQ, "sequences": SEQUENCES, "data_fingerprint": "77aa", "nll": nll, "count": count}
                (folder / "evals" / f"step-{step}.json").write_text(json.dumps(evaluation))
            if probes and step % (steps // 40) == 0:
                line["layer_variance"] = [variance(scheme, l, layers, step, steps) * math.exp(rng.gauss(0, 0.04))
                                          for l in range(1, layers + 1)]
                line["layer_grad_norm"] = [0.3 * math.exp(rng.gauss(0, 0.1)) / v ** 0.4 for v in line["layer_variance"]]
            out.write(json.dumps(line) + "\n")
    if sweep:
        write_sweep(folder, scheme, layers, rng)


def write_sweep(folder, scheme, layers, rng):
    evenness = SCHEMES[scheme][2]
    delta = [0.02 + 0.25 * evenness * math.exp(rng.gauss(0, 0.25)) + (1 - 0.6 * evenness) * 2.4 * math.exp(-1.1 * (l - 1))
             + rng.gauss(0, 0.015) for l in range(1, layers + 1)]
    positive = [max(0, d) for d in delta]
    depth = sum(positive) ** 2 / sum(d * d for d in positive)
    (folder / "sweep.json").write_text(json.dumps({
        "loss": 3.4, "perplexity": math.exp(3.4), "effective_depth": depth, "effective_depth_ratio": depth / layers,
        "removed": [{"layers": [l + 1], "loss": 3.4 + d, "perplexity": math.exp(3.4 + d), "delta_loss": d,
                     "delta_loss_stderr": 0.008 + 0.02 * abs(d)} for l, d in enumerate(delta)]}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", default="pre,lns")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    for scheme in options.runs.split(","):
        write_run(options.folder / scheme, scheme, options.layers, options.steps)


if __name__ == "__main__":
    main()
