#!/usr/bin/env python3
"""llama.cpp must load what `fathom export` writes and compute Fathom's logits; and both must find the same perplexity.

    check_llama_cpp.py --fathom BIN                                    the goldens and families of this repository
    check_llama_cpp.py --fathom BIN --perplexity MODEL.gguf --text FILE [--chunks N]   the perplexity of a model

Logits: each checkpoint is exported to GGUF in F32 (LNS and LayerScale folded), run by llama.cpp with an fp32 key/value
cache, and held to `fathom logits` of the source, within 1e-3 of the largest logit. A model with a tokenizer is trained
a few steps, and llama.cpp's ids of a text held to Fathom's.

Perplexity: llama.cpp's own convention (tools/perplexity): chunks of 512 tokens, of which the targets in the second half
are scored; a BOS overwrites the first token where the vocabulary adds one. Fathom scores the same ids: `fathom probe`
gives the mean loss of whole chunks and of their first halves, whose difference is the second halves'. Within 1%.

Exit code 0 if all agree, 1 if not, 77 with "SKIPPED: reason" where llama-cpp-python is absent (`make parity-llama` builds
it, in a virtual environment that this script finds by itself).
"""

import argparse
import ctypes
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
VENV = REPOSITORY / ".venv-llama"
try:
    import llama_cpp
    import numpy as np
except ImportError as error:
    if VENV.exists() and Path(sys.prefix) != VENV:
        os.execv(VENV / "bin/python", [str(VENV / "bin/python"), *sys.argv])
    print(f"SKIPPED: {error}; `make parity-llama` builds what is needed")
    sys.exit(77)

FAMILIES = REPOSITORY / "tests/parity/families"
GOLDENS = REPOSITORY / "tests/golden/data"
TOLERANCE = 1e-3
CHUNK = 512
THREADS = 0  # of llama.cpp; 0: one a core
QUIET = llama_cpp.llama_log_callback(lambda level, text, data: None)
llama_cpp.llama_log_set(QUIET, ctypes.c_void_p(0))


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, f"`{' '.join(map(str, command))}`: {done.stderr.strip()}"


class LlamaCpp:
    """A model under llama.cpp: fp32 key/value cache, no flash attention, so that nothing is rounded on the way."""

    def __init__(self, path, n_ctx):
        parameters = llama_cpp.llama_model_default_params()
        # Not repacked for AMX: llama-cpp-python 0.3.36 dies of an illegal instruction there, seen in a virtual machine.
        parameters.use_extra_bufts = False
        parameters.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        assert self.model, "llama.cpp does not load it"
        context = llama_cpp.llama_context_default_params()
        context.n_ctx = context.n_batch = context.n_ubatch = n_ctx
        context.n_threads = context.n_threads_batch = THREADS or os.cpu_count()
        context.type_k = context.type_v = llama_cpp.GGML_TYPE_F32
        context.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = llama_cpp.llama_init_from_model(self.model, context)
        assert self.context, "llama.cpp makes no context for it"
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)

    def logits(self, ids):
        """(len(ids), V), each position's."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
            batch.seq_id[i][0] = 0
        assert llama_cpp.llama_decode(self.context, batch) == 0, "llama_decode failed"
        size = llama_cpp.llama_vocab_n_tokens(self.vocab)
        rows = [np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, i), (size,)).copy()
                for i in range(len(ids))]
        llama_cpp.llama_batch_free(batch)
        return np.stack(rows).astype(np.float64)

    def tokenize(self, text, special):
        data = text.encode()
        out = (llama_cpp.llama_token * (len(data) + 8))()
        n = llama_cpp.llama_tokenize(self.vocab, data, len(data), out, len(out), special, False)
        assert n >= 0, "llama_tokenize failed"
        return list(out[:n])

    def close(self):
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)


def check_logits(fathom, source, fold, scratch):
    """Largest deviation of llama.cpp's logits on the export from Fathom's on the source, of the largest logit."""
    config = json.loads((source / "config.json").read_text())
    rng = random.Random(1)
    ids = [rng.randrange(config["vocab_size"]) for _ in range(min(24, config["max_position_embeddings"]))]
    (scratch / "ids.json").write_text(json.dumps([ids]))
    target = scratch / "model.gguf"
    run(fathom, "export", source, "--out", target, "--type", "f32", *(["--fold-norm-scale"] if fold else []))
    run(fathom, "logits", source, "--token-ids", scratch / "ids.json", "--out", scratch / "logits.json")
    ours = np.array(json.loads((scratch / "logits.json").read_text())["logits"][0])
    model = LlamaCpp(target, 256)
    theirs = model.logits(ids)
    model.close()
    assert theirs.shape == ours.shape, f"{theirs.shape} logits, expected {ours.shape}"
    deviation = np.abs(theirs - ours).max() / np.abs(ours).max()
    assert deviation <= TOLERANCE, f"deviates by {deviation:.1e} of the largest logit"
    return deviation


def train(fathom, scratch):
    """A run of a tiny LNS model with its tokenizer, a few steps on text made here."""
    rng = random.Random(2)
    words = ["".join(rng.choice("abcdefghijklmnop") for _ in range(rng.randint(2, 8))) for _ in range(300)]
    text = scratch / "text.txt"
    text.write_text("\n\n".join(" ".join(rng.choice(words) for _ in range(200)) + "." for _ in range(60)))
    model = scratch / "model.json"
    model.write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
        "num_key_value_heads": 2, "num_hidden_layers": 5, "vocab_size": 384, "initializer_range": 0.1,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-6}))
    run(fathom, "tokenizer", "train", "--input", text, "--vocab", 384, "--out", scratch / "tok")
    run(fathom, "data", "--input", text, "--tokenizer", scratch / "tok", "--out", scratch / "data")
    run(fathom, "train", "--model", model, "--norm", "lns", "--data", scratch / "data", "--out", scratch / "run", "--steps",
        4, "--batch", 2, "--seq", 32, "--lr", 0.01, "--warmup", 1, "--dtype", "fp32")
    return scratch / "run/checkpoints/step-4", words


def check_trained(fathom, scratch):
    source, words = train(fathom, scratch)
    deviation = check_logits(fathom, source, True, scratch)
    text = " ".join(words[:40]) + "  two  spaces, na\u00efve \U0001f642\n\n\tend"
    run(fathom, "generate", source, "--prompt", text, "--max-tokens", 1, "--json", scratch / "g.json", "--dtype", "fp32")
    ours = json.loads((scratch / "g.json").read_text())["prompt_ids"]
    model = LlamaCpp(scratch / "model.gguf", 256)
    theirs = model.tokenize(text, True)
    model.close()
    assert theirs == ours, f"llama.cpp's ids {theirs[:20]}..., Fathom's {ours[:20]}..."
    return deviation


def chunks_of(model, text, count):
    ids = model.tokenize(text, True)
    chunks = [ids[i : i + CHUNK] for i in range(0, len(ids) - CHUNK + 1, CHUNK)][:count]
    assert chunks, f"the text has {len(ids)} tokens, fewer than a chunk's {CHUNK}"
    if llama_cpp.llama_vocab_get_add_bos(model.vocab):
        for chunk in chunks:
            chunk[0] = llama_cpp.llama_vocab_bos(model.vocab)
    return chunks


def fathom_loss_sum(fathom, model, sequences, scratch):
    (scratch / "ids.json").write_text(json.dumps(sequences))
    run(fathom, "probe", model, "--token-ids", scratch / "ids.json", "--metrics", "variance", "--batch", 1, "--json",
        scratch / "probe.json")
    return json.loads((scratch / "probe.json").read_text())["loss"] * sum(len(s) - 1 for s in sequences)


def check_perplexity(fathom, path, text, count, scratch):
    model = LlamaCpp(path, CHUNK)
    chunks = chunks_of(model, Path(text).read_text(errors="replace")[: 8000 * count], count)
    first = CHUNK // 2
    total = 0.0
    for chunk in chunks:
        rows = model.logits(chunk)[first:-1]
        top = rows.max(axis=1, keepdims=True)
        log_sums = top[:, 0] + np.log(np.exp(rows - top).sum(axis=1))
        total += (log_sums - rows[np.arange(len(rows)), chunk[first + 1 :]]).sum()
    model.close()
    scored = len(chunks) * (CHUNK - first - 1)
    ours = (fathom_loss_sum(fathom, path, chunks, scratch) -
            fathom_loss_sum(fathom, path, [chunk[: first + 1] for chunk in chunks], scratch)) / scored
    theirs = total / scored
    difference = abs(math.exp(ours - theirs) - 1)
    print(f"      {len(chunks)} chunks of {CHUNK}, {scored} targets: perplexity {math.exp(ours):.4f} by Fathom, "
          f"{math.exp(theirs):.4f} by llama.cpp {llama_cpp.__version__}'s")
    assert difference <= 0.01, f"perplexities differ by {difference:.2%}"
    return difference


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fathom", type=Path, required=True)
    parser.add_argument("--perplexity", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--threads", type=int, default=0,
                        help="of llama.cpp, whose threads wait for one another by spinning (1 on a busy machine)")
    args = parser.parse_args()
    global THREADS
    THREADS = args.threads
    if args.perplexity:
        cases = [(f"perplexity of {args.perplexity.name}", check_perplexity, (args.perplexity, args.text, args.chunks))]
    else:
        cases = [(f"golden {name}", check_logits, (GOLDENS / name, fold))
                 for name, fold in (("pre", False), ("pre-bias", False), ("lns", True), ("lns-pruned", True),
                                    ("layerscale", True))]
        # The Gemma fixtures' scales of scores are their own, which GGUF has no key for.
        cases += [(f"family {name}", check_logits, (FAMILIES / name, False))
                  for name in ("llama", "llama3-rope", "linear-rope", "yarn-rope", "qwen2", "qwen3", "olmo2")]
        cases.append(("trained lns with its tokenizer", check_trained, ()))
    failed = 0
    for name, check, arguments in cases:
        with tempfile.TemporaryDirectory(prefix="fathom-llama-") as scratch:
            try:
                print(f"ok    {name}: {check(args.fathom, *arguments, Path(scratch)):.1e}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"FAIL  {name}: {error}", flush=True)
    print(f"{len(cases) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
