#!/usr/bin/python3
"""Golden data in float64: what a correct program computes from a tiny checkpoint.

Independent of Fathom's C++ on purpose: plain matrix products under PyTorch's autograd (any version from 1.13, so
Debian's python3-torch serves), formulas as the papers write them, nothing fused and nothing shared.

    make_golden.py check DIR...   recompute DIR/expected.json from its checkpoint and tokens; exit 1 if it differs,
                                  77 with "SKIPPED: reason" without PyTorch
    make_golden.py make OUT       write the folders of CASES below under OUT (tests/golden/data is made so)

A folder holds config.json, model.safetensors (float32, Hugging Face names) and expected.json:
{"tokens": [steps][batch][seq+1], "optimizer": {...}, "expected": {key: value}}. The keys are computed by `expected()`;
each function's docstring says what its keys mean. All but the two lists of losses are of the first step's batch and
the weights as stored.
"""

import argparse
import json
import math
import struct
import sys
from pathlib import Path

try:
    import numpy as np
    import torch
except ImportError as error:
    print(f"SKIPPED: {error} (Debian: python3-torch, python3-numpy)")
    sys.exit(77)

SCHEMES = ("pre", "lns", "post", "deepnorm", "mix", "sandwich", "peri", "layerscale")
OPTIMIZER = {"type": "adamw", "lr": 3e-3, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay_on_2d": 0.1,
             "clip": 0.5}
CHECK_TOLERANCE = 1e-9  # of the key's largest value: float64 rounding, and our own ten written digits

# Shapes chosen to catch what round sizes hide: an FFN that is no multiple of 16, one KV head, an odd vocabulary, a
# head width that is not hidden / heads, other eps and rope_theta than the defaults, tied and untied heads.
BASE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 24, "intermediate_size": 40,
    "num_attention_heads": 3, "num_key_value_heads": 1, "num_hidden_layers": 5, "vocab_size": 61, "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0, "tie_word_embeddings": False, "hidden_act": "silu", "max_position_embeddings": 64,
    "initializer_range": 0.06, "torch_dtype": "float32", "bos_token_id": 0, "eos_token_id": 1,
}
CASES = {
    "pre": {"norm_scheme": {"type": "pre"}},
    "pre-bias": {"norm_scheme": {"type": "pre"}, "attention_bias": True, "tie_word_embeddings": True,
                 "rope_theta": 10.0, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]},
    "scaled-init": {"norm_scheme": {"type": "pre"}},
    "lns": {"norm_scheme": {"type": "lns"}, "tie_word_embeddings": True},
    "lns-pruned": {"norm_scheme": {"type": "lns", "num_layers_original": 6, "layer_index": [1, 2, 4, 6]},
                   "num_hidden_layers": 4},
    "post": {"norm_scheme": {"type": "post"}},
    "deepnorm": {"norm_scheme": {"type": "deepnorm"}, "tie_word_embeddings": True},
    "mix": {"norm_scheme": {"type": "mix", "post_layers": 2}},
    "sandwich": {"norm_scheme": {"type": "sandwich"}, "tie_word_embeddings": True, "head_dim": 24,
                 "rope_theta": 500000.0, "hidden_size": 48},
    "peri": {"norm_scheme": {"type": "peri"}, "rms_norm_eps": 1e-5},
    "layerscale": {"norm_scheme": {"type": "layerscale"}, "tie_word_embeddings": True, "num_key_value_heads": 3},
    "pre-window": {"norm_scheme": {"type": "pre"}, "sliding_window": 4, "model_type": "mistral",
                   "architectures": ["MistralForCausalLM"]},
}
STEPS, BATCH, SEQ = 20, 3, 13
# Draws whose gradients are no small differences of large terms: a key's bias hardly moves the softmax, and norms on
# both sides of a sublayer magnify rounding, so that some draws deviate by more than 2% in bf16 in any program.
SEEDS = {"pre-bias": 6001, "sandwich": 8008}


# ---- files ----------------------------------------------------------------------------------------------------------

def read_safetensors(path):
    """{name: float64 tensor} of a float32 safetensors file."""
    raw = Path(path).read_bytes()
    (header_bytes,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + header_bytes])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "F32", f"{path}: {name} is {entry['dtype']}, goldens are F32"
        begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
        values = np.frombuffer(raw[begin:end], dtype="<f4").astype(np.float64)
        tensors[name] = torch.from_numpy(values).reshape(entry["shape"])
    return tensors


def write_safetensors(path, arrays):
    """Writes {name: float32 array}; the header is padded so that data start at a multiple of 8 bytes."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(array.astype("<f4").tobytes() for array in arrays.values())
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


# ---- the model ------------------------------------------------------------------------------------------------------

class Model:
    """A Llama-like decoder under any scheme. A layer is named by its 0-based place in the checkpoint, and keeps the
    wiring of its 1-based *original* index wherever a run puts it."""

    def __init__(self, config, weights):
        self.config, self.weights = config, weights
        scheme = config.get("norm_scheme", {"type": "pre"})
        self.kind = scheme["type"]
        assert self.kind in SCHEMES, self.kind
        self.layers = config["num_hidden_layers"]
        self.original_layers = scheme.get("num_layers_original", self.layers)
        self.original_index = scheme.get("layer_index", list(range(1, self.layers + 1)))
        self.alpha = scheme.get("alpha", (2 * self.original_layers) ** 0.25)
        self.post_layers = scheme.get("post_layers", self.original_layers // 4)
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.head_dim = config.get("head_dim") or config["hidden_size"] // self.heads

    def norm(self, x, name):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.config["rms_norm_eps"]) * self.weights[name]

    def linear(self, x, name):
        y = x @ self.weights[name + ".weight"].T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def rotate(self, x):
        """RoPE on (batch, heads, T, head_dim), pairs (i, i + head_dim/2) as in Hugging Face's Llama."""
        half = self.head_dim // 2
        frequency = self.config["rope_theta"] ** (-torch.arange(half, dtype=x.dtype) / half)
        angle = torch.arange(x.shape[2], dtype=x.dtype)[:, None] * frequency
        a, b = x[..., :half], x[..., half:]
        return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)

    def attention(self, x, prefix):
        batch, length, _ = x.shape
        split = lambda y, heads: y.view(batch, length, heads, self.head_dim).transpose(1, 2)
        q = self.rotate(split(self.linear(x, prefix + "q_proj"), self.heads))
        k = self.rotate(split(self.linear(x, prefix + "k_proj"), self.kv_heads))
        v = split(self.linear(x, prefix + "v_proj"), self.kv_heads)
        k, v = (y.repeat_interleave(self.heads // self.kv_heads, dim=1) for y in (k, v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.head_dim)
        hidden = torch.ones(length, length).triu(1).bool()
        if window := self.config.get("sliding_window"):  # keys that a query sees, itself included
            hidden |= torch.ones(length, length).tril(-window).bool()
        mixed = scores.masked_fill(hidden, -math.inf).softmax(-1) @ v
        return self.linear(mixed.transpose(1, 2).reshape(batch, length, -1), prefix + "o_proj")

    def mlp(self, x, prefix):
        gate = self.linear(x, prefix + "gate_proj")
        return self.linear(gate * torch.sigmoid(gate) * self.linear(x, prefix + "up_proj"), prefix + "down_proj")

    def steps(self, place, x):
        """The stream after the attention step and after the MLP step of the layer stored at `place`."""
        prefix = f"model.layers.{place}."
        attention = lambda y: self.attention(y, prefix + "self_attn.")
        mlp = lambda y: self.mlp(y, prefix + "mlp.")
        norm = lambda y, name: self.norm(y, prefix + name + ".weight")
        index = self.original_index[place]
        kind = self.kind
        if kind == "mix":
            kind = "post" if index <= self.post_layers else "pre"

        if kind in ("post", "deepnorm"):
            alpha = self.alpha if kind == "deepnorm" else 1.0
            middle = norm(alpha * x + attention(x), "post_attention_layernorm")
            return middle, norm(alpha * middle + mlp(middle), "post_feedforward_layernorm")
        if kind in ("sandwich", "peri"):
            middle = x + norm(attention(norm(x, "input_layernorm")), "post_attention_layernorm")
            return middle, middle + norm(mlp(norm(middle, "pre_feedforward_layernorm")), "post_feedforward_layernorm")
        scale = 1 / math.sqrt(index) if kind == "lns" else 1.0
        gains = (1.0, 1.0)
        if kind == "layerscale":
            gains = self.weights[prefix + "self_attn.layer_scale"], self.weights[prefix + "mlp.layer_scale"]
        middle = x + gains[0] * attention(norm(x, "input_layernorm") * scale)
        return middle, middle + gains[1] * mlp(norm(middle, "post_attention_layernorm") * scale)

    def embed(self, ids):
        x = self.weights["model.embed_tokens.weight"][ids]
        return self.norm(x, "model.embed_norm.weight") if self.kind == "peri" else x

    def head(self, x):
        name = "model.embed_tokens.weight" if self.config["tie_word_embeddings"] else "lm_head.weight"
        return self.norm(x, "model.norm.weight") @ self.weights[name].T

    def streams(self, ids, order=None):
        """The stream at the embedding and after each step, as [x0, middle1, x1, middle2, x2, ...]."""
        out = [self.embed(ids)]
        for place in range(self.layers) if order is None else order:
            out += self.steps(place, out[-1])
        return out


def cross_entropy(logits, targets):
    """Mean negative log-likelihood in nats."""
    return (logits.logsumexp(-1) - logits.gather(-1, targets[..., None])[..., 0]).mean()


# ---- the keys -------------------------------------------------------------------------------------------------------

def cosine(a, b):
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))


def angle(a, b):
    """Mean over tokens of arccos(cosine) / pi."""
    return (torch.arccos(cosine(a, b).clamp(-1, 1)) / math.pi).mean().item()


def gradient_keys(model, ids, targets):
    """`loss` and the norm and the sum of its gradient for each tensor, and the norm over all."""
    for weight in model.weights.values():
        weight.requires_grad_(True)
    loss = cross_entropy(model.head(model.streams(ids)[-1]), targets)
    gradients = dict(zip(model.weights, torch.autograd.grad(loss, list(model.weights.values()))))
    for weight in model.weights.values():
        weight.requires_grad_(False)
    return {
        "loss": loss.item(),
        "grad_norm": {name: g.norm().item() for name, g in gradients.items()},
        "grad_sum": {name: g.sum().item() for name, g in gradients.items()},
        "global_grad_norm": math.sqrt(sum((g * g).sum().item() for g in gradients.values())),
    }


def stream_keys(model, streams):
    """Per layer: variance and RMS of the stream (embedding first), what each step adds to it, angles over n layers."""
    taps, middles = streams[0::2], streams[1::2]
    keys = {
        "hidden_variance": [x.var(-1, unbiased=False).mean().item() for x in taps],
        "hidden_rms": [(x * x).mean(-1).sqrt().mean().item() for x in taps],
        "block_influence": [1 - cosine(a, b).mean().item() for a, b in zip(taps, taps[1:])],
    }
    for key, cut in (("all_tokens", slice(None)), ("last_token", slice(-1, None))):
        keys["angular_distance_" + key] = [
            [angle(taps[i][:, cut], taps[i + n][:, cut]) for i in range(model.layers + 1 - n)]
            for n in range(1, model.layers + 1)
        ]
    for name, before, after in (("attn", taps, middles), ("mlp", middles, taps[1:])):
        pairs = [(x, y - x) for x, y in zip(before, after)]
        keys[name + "_contribution"] = [(d.norm(dim=-1) / x.norm(dim=-1)).mean().item() for x, d in pairs]
        keys[name + "_cosine"] = [cosine(d, x).mean().item() for x, d in pairs]
    return keys


def lens_keys(model, taps, targets):
    """Final norm and head on the stream after each layer: loss, KL(lens || final), share of its top 5 in the final."""
    final = model.head(taps[-1])
    log_final, top_final = final.log_softmax(-1), final.topk(5).indices
    keys = {"lens_loss": [], "lens_kl": [], "lens_top5": []}
    for x in taps:
        logits = model.head(x)
        log_lens = logits.log_softmax(-1)
        shared = (logits.topk(5).indices[..., :, None] == top_final[..., None, :]).any(-1)
        keys["lens_loss"].append(cross_entropy(logits, targets).item())
        keys["lens_kl"].append((log_lens.exp() * (log_lens - log_final)).sum(-1).mean().item())
        keys["lens_top5"].append(shared.double().mean().item())
    return keys


def intervention_keys(model, ids, targets, taps, loss):
    """Layers left out and swapped. causal_score[s][l], l > s: the mean norm of what layer l's change loses or gains
    when layer s is left out, over the mean norm of layer l's change."""
    layers = range(model.layers)
    run_loss = lambda order: cross_entropy(model.head(model.streams(ids, order)[-1]), targets).item()
    without, causal = [], []
    for s in layers:
        order = [l for l in layers if l != s]
        streams = model.streams(ids, order)
        without.append(cross_entropy(model.head(streams[-1]), targets).item())
        skipped = streams[0::2]
        row = [0.0] * model.layers
        for l in range(s + 1, model.layers):  # in the shorter run layer l stands at place l - 1
            change, changed = taps[l + 1] - taps[l], skipped[l] - skipped[l - 1]
            row[l] = ((change - changed).norm(dim=-1).mean() / change.norm(dim=-1).mean()).item()
        causal.append(row)
    permutation = [[0.0] * model.layers for _ in layers]
    for i in layers:
        for j in range(i + 1, model.layers):
            order = list(layers)
            order[i], order[j] = j, i
            permutation[i][j] = permutation[j][i] = abs(run_loss(order) - loss) / loss
    return {"loss_without_layer": without, "causal_score": causal, "permutation_score": permutation}


def identity_deviation(model, place, x):
    """||J - I||_F / sqrt(T d), J the exact Jacobian of the layer as a map of one sequence x (1, T, d)."""
    jacobian = torch.autograd.functional.jacobian(lambda y: model.steps(place, y)[1], x)
    jacobian = jacobian.reshape(x.numel(), x.numel())
    return (jacobian - torch.eye(x.numel(), dtype=x.dtype)).norm().item() / math.sqrt(x.numel())


def adamw_losses(config, stored, tokens, optimizer, clip=None):
    """The loss at each step before its update. Decoupled decay on 2-D tensors only, bias correction, constant rate;
    clipping multiplies all gradients by min(1, clip / (norm + 1e-6))."""
    model = Model(config, {name: w.clone().requires_grad_(True) for name, w in stored.items()})
    beta1, beta2 = optimizer["beta1"], optimizer["beta2"]
    moments = {name: (torch.zeros_like(w), torch.zeros_like(w)) for name, w in stored.items()}
    losses = []
    for step, batch in enumerate(tokens, start=1):
        loss = cross_entropy(model.head(model.streams(batch[:, :-1])[-1]), batch[:, 1:])
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, list(model.weights.values()))
        norm = math.sqrt(sum((g * g).sum().item() for g in gradients))
        factor = 1.0 if clip is None else min(1.0, clip / (norm + 1e-6))
        with torch.no_grad():
            for (name, weight), gradient in zip(model.weights.items(), gradients):
                first, second = moments[name]
                first.mul_(beta1).add_((1 - beta1) * factor * gradient)
                second.mul_(beta2).add_((1 - beta2) * (factor * gradient) ** 2)
                if weight.dim() == 2:
                    weight.mul_(1 - optimizer["lr"] * optimizer["weight_decay_on_2d"])
                step_size = (first / (1 - beta1**step)) / ((second / (1 - beta2**step)).sqrt() + optimizer["eps"])
                weight.sub_(optimizer["lr"] * step_size)
    return losses


def expected(config, weights, tokens, optimizer):
    """Every key of a golden, from the weights as stored (float64) and tokens (steps, batch, seq + 1)."""
    model = Model(config, weights)
    ids, targets = tokens[0][:, :-1], tokens[0][:, 1:]
    keys = gradient_keys(model, ids, targets)
    streams = model.streams(ids)
    taps = streams[0::2]
    keys["logits_first_sequence"] = model.head(taps[-1])[0].flatten().tolist()
    keys.update(stream_keys(model, streams))
    keys.update(lens_keys(model, taps, targets))
    keys.update(intervention_keys(model, ids, targets, taps, keys["loss"]))
    keys["identity_deviation_first_sequence"] = [identity_deviation(model, l, taps[l][:1]) for l in range(model.layers)]
    keys["adamw_losses"] = adamw_losses(config, weights, tokens, optimizer)
    keys["adamw_clip_losses"] = adamw_losses(config, weights, tokens, optimizer, optimizer["clip"])
    return keys


# ---- new checkpoints ------------------------------------------------------------------------------------------------

def shapes(config):
    """{tensor name: shape} of a checkpoint, in file order."""
    d, ffn, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    model = Model(config, {})
    q, kv = model.heads * model.head_dim, model.kv_heads * model.head_dim
    out = {"model.embed_tokens.weight": (vocabulary, d)}
    if model.kind == "peri":
        out["model.embed_norm.weight"] = (d,)
    for place in range(model.layers):
        prefix = f"model.layers.{place}."
        projections = {"q": (q, d), "k": (kv, d), "v": (kv, d), "o": (d, q)}
        for name, shape in projections.items():
            out[f"{prefix}self_attn.{name}_proj.weight"] = shape
            if config.get("attention_bias") and name != "o":  # as Qwen2: queries, keys and values only
                out[f"{prefix}self_attn.{name}_proj.bias"] = shape[:1]
        for name, shape in {"gate": (ffn, d), "up": (ffn, d), "down": (d, ffn)}.items():
            out[f"{prefix}mlp.{name}_proj.weight"] = shape
        mixed_post = model.kind == "mix" and model.original_index[place] <= model.post_layers
        if model.kind in ("post", "deepnorm") or mixed_post:
            norms = ["post_attention_layernorm", "post_feedforward_layernorm"]
        else:
            norms = ["input_layernorm", "post_attention_layernorm"]
        if model.kind in ("sandwich", "peri"):
            norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
        out.update({f"{prefix}{name}.weight": (d,) for name in norms})
        if model.kind == "layerscale":
            out.update({prefix + "self_attn.layer_scale": (d,), prefix + "mlp.layer_scale": (d,)})
    out["model.norm.weight"] = (d,)
    if not config["tie_word_embeddings"]:
        out["lm_head.weight"] = (vocabulary, d)
    return out


def draw(config, case, rng):
    """Random float32 weights: matrices as the scheme's init has them, norms near 1 but never 1, so that a forgotten
    weight shows; layer scales near 0.1 of either sign, biases as large as the projections' outputs."""
    original = Model(config, {}).original_layers
    beta = (8 * original) ** -0.25 if config["norm_scheme"]["type"] == "deepnorm" else 1.0
    arrays = {}
    for name, shape in shapes(config).items():
        values = rng.standard_normal(shape)
        if name.endswith("norm.weight"):
            values = 1 + 0.2 * values
        elif name.endswith("layer_scale"):
            values = 0.1 * values + 0.1
        elif name.endswith(".bias"):
            values = 0.5 * values
        else:
            values *= config["initializer_range"]
            if any(part in name for part in ("v_proj", "o_proj", "mlp.")):
                values *= beta
            if case == "scaled-init" and ("o_proj" in name or "down_proj" in name):
                values /= math.sqrt(2 * original)
        arrays[name] = values.astype(np.float32)
    return arrays


def rounded(value):
    """Ten significant digits: enough for every tolerance, and the files stay small."""
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.10g}")


def make(out, case, seed):
    """Writes the folder of one case; the same seed gives the same files."""
    config = {**BASE, **CASES[case]}
    rng = np.random.default_rng(seed)
    arrays = draw(config, case, rng)
    tokens = rng.integers(0, config["vocab_size"], (STEPS, BATCH, SEQ + 1))
    folder = Path(out) / case
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_safetensors(folder / "model.safetensors", arrays)
    values = expected(config, read_safetensors(folder / "model.safetensors"), torch.from_numpy(tokens), OPTIMIZER)
    golden = {"tokens": tokens.tolist(), "optimizer": OPTIMIZER, "expected": rounded(values)}
    (folder / "expected.json").write_text(json.dumps(golden) + "\n")
    print(f"{folder}: loss {values['loss']:.6f}")


# ---- checking -------------------------------------------------------------------------------------------------------

def flat(value):
    if isinstance(value, dict):
        return [x for key in sorted(value) for x in flat(value[key])]
    if isinstance(value, list):
        return [x for v in value for x in flat(v)]
    return [value]


def check(folder):
    """True if the folder's expected values are what we compute; prints the worst key."""
    folder = Path(folder)
    config, golden = (json.loads((folder / name).read_text()) for name in ("config.json", "expected.json"))
    weights = read_safetensors(folder / "model.safetensors")
    ours = expected(config, weights, torch.tensor(golden["tokens"]), golden["optimizer"])
    missing = set(golden["expected"]) ^ set(ours)
    deviations = {}
    for key in set(ours) - missing:
        a, b = (np.array(flat(values[key])) for values in (ours, golden["expected"]))
        same = a.shape == b.shape and np.isfinite(a).all()
        deviations[key] = np.abs(a - b).max() / max(np.abs(b).max(), 1e-300) if same else math.inf
    worst = max(deviations, key=deviations.get)
    good = not missing and deviations[worst] <= CHECK_TOLERANCE
    print(f"{folder}: {'ok' if good else 'DIFFERS'}, {len(deviations)} keys, "
          f"largest relative deviation {deviations[worst]:.1e} ({worst})"
          + (f", keys on one side only: {sorted(missing)}" if missing else ""))
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check").add_argument("folders", nargs="+")
    maker = commands.add_parser("make")
    maker.add_argument("out")
    maker.add_argument("--seed", type=int, default=2502, help="of the cases that SEEDS does not name")
    maker.add_argument("--only", choices=CASES, nargs="+", default=list(CASES))
    args = parser.parse_args()
    if args.command == "check":
        sys.exit(0 if all([check(folder) for folder in args.folders]) else 1)
    for case in args.only:
        make(args.out, case, SEEDS.get(case, args.seed + list(CASES).index(case)))


if __name__ == "__main__":
    main()
