#!/usr/bin/env python3
"""Writes results that look like those of `fathom probe --json` and `fathom prune --sweep --json`, for tests of the report.

    make_probes.py FOLDER

The numbers are made up, with the shapes that real models have: variance that jumps at one layer, first and last layers
that are dear to remove, a lens that gets better towards the end.
"""
import json
import math
import random
import sys
from pathlib import Path


def growth(variances):
    """The power law through the variances; AICc made up."""
    if len(variances) < 6:
        return None
    x = [math.log(l + 1) for l in range(len(variances))]
    y = [math.log(v) for v in variances]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mx) * (b - my) for a, b in zip(x, y)) / sum((a - mx) ** 2 for a in x)
    return {"law": "power", "exponent": slope, "slope": 1.0, "rate": 0.1,
            "aicc": {"linear": 473.4, "power": 441.9, "exponential": 452.0}}


def probe(model, layers, quick=False, gaps=False):
    rng = random.Random(f"{model}-{layers}")
    noise = lambda size=0.08: math.exp(rng.gauss(0, size))
    per_layer, delta = [], []
    for l in range(1, layers + 1):
        depth = l / layers
        edge = math.exp(-2.5 * (l - 1)) + math.exp(-1.2 * (layers - l))
        values = {"variance": (3 + 30 * depth + (2000 * depth if depth > 0.4 else 0)) * noise(),
                  "rms": math.sqrt(3 + 30 * depth + (2000 * depth if depth > 0.4 else 0)),
                  "block_influence": 0.03 * noise(0.3) + 0.5 * edge, "angular_distance": 0.08 * noise(0.2) + 0.3 * edge,
                  "attn_contribution": 0.15 * noise(0.2) + edge, "mlp_contribution": 0.25 * noise(0.2) + 2 * edge,
                  "attn_cosine": 0.1 * rng.gauss(0, 1), "mlp_cosine": -0.1 + 0.15 * rng.gauss(0, 1),
                  "lens_loss": 18 - 14 * depth ** 3 + 0.4 * rng.gauss(0, 1), "lens_kl": 14 * (1 - depth ** 3),
                  "lens_top5": depth ** 4, "value_of_tomorrow": depth}
        values |= {"variance_without_first": values["variance"] / (100 if depth > 0.4 else 1), "rms_without_first": 2.0 + depth,
                   "attn_variance": 0.3 * noise(0.3), "mlp_variance": 0.8 * noise(0.3), "attn_rms": 0.5 * noise(), "mlp_rms": noise()}
        if not quick:
            values |= {"identity_deviation": 0.6 * noise() + 10 * math.exp(-3 * (l - 1)), "grad_norm": 0.4 * noise(0.2) / l ** 0.3,
                       "usefulness": 0.03 * noise(0.4) + 0.4 * edge, "delta_loss": 0.15 * noise(0.5) + 5 * edge}
            delta.append(values["delta_loss"])
        entry = {"layer": l}
        for key, value in values.items():
            entry[key] = value
            if key != "grad_norm":
                entry[key + "_stderr"] = 0.05 * abs(value) + 0.002
        if gaps and l == layers // 2:
            entry |= {key: None for key in entry if key != "layer"}
        if gaps and not quick:
            entry |= {"usefulness": None, "usefulness_stderr": None}
        per_layer.append(entry)
    turn = lambda n: 0.09 * math.sqrt(n) * noise(0.1)
    angles = [[min(1, turn(n)) for _ in range(layers - n + 1)] for n in range(1, layers + 1)]
    out = {"model": model, "dtype": "fp32", "layers": layers, "tokens": 5110, "sequences": 10, "seq": 512, "loss": 3.2985,
           "loss_stderr": 0.0581, "perplexity": math.exp(3.2985), "per_layer": per_layer,
           "embedding": {"variance": 0.02, "variance_stderr": 0.001, "rms": 0.14, "lens_loss": 19.2, "lens_kl": 15.8, "lens_top5": 0.0},
           "angular_matrix_all": angles, "angular_matrix_last": [[a * noise() for a in row] for row in angles],
           "variance_growth": growth([entry["variance"] or 1.0 for entry in per_layer]),
           "summary": ["The stream's variance goes from 3.83 after layer 1 to 1.61e+03 after the last (420 times).",
                       "Every layer turns the stream by 5 degrees or more."]}
    if not quick:
        out |= {"causal_score": [[0.4 * noise(0.3) / math.sqrt(l - s) if l > s else 0.0 for l in range(layers)] for s in range(layers)],
                "permutation_score": [[0.0 if i == j else 0.02 * noise(0.6) * abs(i - j) / (1 + min(i, j)) for j in range(layers)]
                                      for i in range(layers)],
                "permutation_tokens": 1024, "usefulness_share": 0.1}
        if gaps:
            out |= {"usefulness_share": None, "usefulness_reason": "needs 2304 tokens to fit, has 512"}
    return out


def sweep(model, layers, what="layer", run=1):
    rng = random.Random(f"{model}-{what}-{run}")
    removed = []
    for first in range(1, layers - run + 2):
        delta = sum(0.15 * math.exp(rng.gauss(0, 0.5)) + 5 * math.exp(-2.5 * (l - 1)) + 2 * math.exp(-1.2 * (layers - l))
                    for l in range(first, first + run))
        removed.append({"layers": list(range(first, first + run)), "loss": 3.2985 + delta, "perplexity": math.exp(3.2985 + delta),
                        "delta_loss": delta, "delta_loss_stderr": 0.01 + 0.05 * delta})
    total = sum(r["delta_loss"] for r in removed)
    depth = total ** 2 / sum(r["delta_loss"] ** 2 for r in removed)
    return {"model": model, "what": what, "loss": 3.2985, "perplexity": math.exp(3.2985), "tokens": 5110, "sequences": 10,
            "removed": removed, "effective_depth": depth, "effective_depth_ratio": depth / layers}


def with_tasks(result, tasks=("arc_easy", "piqa"), items=500):
    """The sweep with accuracies on tasks, which fall where the loss rises."""
    rng = random.Random(str(tasks))
    result["tasks"] = [{"task": task, "n": items, "acc": 0.62, "acc_stderr": 0.0217, "acc_norm": 0.58, "acc_norm_stderr": 0.0221,
                        "baselines": {"chance": 0.25, "majority": 0.27}, "flags": {}} for task in tasks]
    for removal in result["removed"]:
        removal["tasks"] = []
        for task in tasks:
            entry = {"task": task, "n": items, "flags": {}}
            for metric, whole in (("acc", 0.62), ("acc_norm", 0.58)):
                delta = max(-0.35, -0.05 * removal["delta_loss"]) + 0.01 * rng.gauss(0, 1)
                entry |= {metric: whole + delta, f"delta_{metric}": delta, f"delta_{metric}_stderr": 0.012, f"{metric}_mcnemar_p": 0.2}
            if removal["layers"] == [1]:
                entry["flags"] = {"acc": "every item is answered with choice 1"}
            removal["tasks"].append(entry)
    return result


LONG = "models/An-Organisation-With-A-Very-Long-Name-Base-Instruct-v2.1-Q4_K_M-imatrix-with-calibration.gguf"


def write_all(folder):
    """The files of the browser test, by name."""
    results = {"full": probe("models/SmolLM2-135M-Instruct.Q4_1.gguf", 30), "sweep": with_tasks(sweep("models/SmolLM2-135M-Instruct.Q4_1.gguf", 30)),
               "attn": sweep("models/SmolLM2-135M-Instruct.Q4_1.gguf", 30, "attn"),
               "runs": sweep("models/SmolLM2-135M-Instruct.Q4_1.gguf", 30, run=3), "other": probe("models/other-24", 24),
               "long": probe(LONG, 12), "quick": probe("models/quick", 16, quick=True), "one": probe("models/one", 1),
               "hundred": probe("models/hundred", 100), "gaps": probe("models/<b>gaps<i>", 8, gaps=True)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, result in results.items():
        (folder / f"{name}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
