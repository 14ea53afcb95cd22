#!/usr/bin/env python3
"""Hugging Face `transformers` must compute Fathom's logits, under every scheme.

    check_logits.py                                the goldens of this repository (and of ../shared, where present)
    check_logits.py --fathom BIN                   also: checkpoints that BIN trains here, one a scheme, two steps each
    check_logits.py --fathom BIN CHECKPOINT...     also: these checkpoint folders

A golden of `pre` opens as the stock model that its config.json names; any other as `model_type` "fathom", with
modeling_fathom.py beside it, as Fathom writes it. Logits must agree to 1e-4 of the largest, in float32. Exit code 0
if all do, 1 if not, 77 with "SKIPPED: reason" where `transformers` is absent (`make parity-venv` installs it, in a
virtual environment that this script finds by itself).
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SCRATCH = tempfile.TemporaryDirectory(prefix="fathom-parity-")
os.environ.update(HF_HOME=SCRATCH.name, HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
REPOSITORY = Path(__file__).resolve().parents[2]
VENV = REPOSITORY / ".venv-parity"
try:
    import torch
    import transformers
    from transformers import AutoModelForCausalLM
except ImportError as error:
    if VENV.exists() and Path(sys.prefix) != VENV:
        SCRATCH.cleanup()
        os.execv(VENV / "bin/python", [str(VENV / "bin/python"), *sys.argv])
    print(f"SKIPPED: {error}; `make parity-venv` installs what is needed")
    sys.exit(77)

MODELING = REPOSITORY / "src" / "io" / "modeling_fathom.py"
SCHEMES = ("pre", "lns", "post", "deepnorm", "mix", "sandwich", "peri", "layerscale")
TOLERANCE = 1e-4
FATHOM_KEYS = {
    "model_type": "fathom", "architectures": ["FathomForCausalLM"],
    "auto_map": {"AutoConfig": "modeling_fathom.FathomConfig",
                 "AutoModelForCausalLM": "modeling_fathom.FathomForCausalLM"},
}


# ---- checks: each raises AssertionError with what is wrong, or returns what it measured -----------------------------

def open_model(folder, remote):
    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=remote).float().eval()


def compare(ours, theirs, what):
    """Largest deviation relative to the largest expected magnitude; NaN fails."""
    assert ours.shape == theirs.shape, f"{what}: shape {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
    deviation = ((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max()).item()
    assert deviation <= TOLERANCE, f"{what}: deviates by {deviation:.1e} of the largest, {TOLERANCE:.0e} allowed"
    return deviation


def check_refused(folder):
    """Without trust_remote_code a Fathom model must not open: a stock Llama would silently run Pre-LN."""
    try:
        open_model(folder, remote=False)
    except ValueError as error:
        assert "trust_remote_code" in str(error), f"refused for another reason: {error}"
    else:
        raise AssertionError("opened without trust_remote_code")


def check_generate(model, ids):
    """Greedy continuation with the KV cache, alone and left-padded in a batch, is what full recomputation gives."""
    prompt, new_tokens = ids[:1, :5], 4
    full = prompt
    for _ in range(new_tokens):
        full = torch.cat((full, model(full).logits[:, -1:].argmax(-1)), dim=1)
    # synced_gpus: left to itself, generate() imports torch.distributed.fsdp, which Debian's torch 1.13 can't.
    settings = {"max_new_tokens": new_tokens, "do_sample": False, "eos_token_id": None, "pad_token_id": 0,
                "synced_gpus": False}
    for use_cache in (True, False):
        out = model.generate(prompt, attention_mask=torch.ones_like(prompt), use_cache=use_cache, **settings)
        assert torch.equal(out, full), f"generate(use_cache={use_cache}) gives {out.tolist()}, not {full.tolist()}"
    padded = torch.cat((torch.zeros(1, 2, dtype=torch.long), prompt), dim=1)
    batch = torch.cat((padded, ids[:1, : padded.shape[1]]))
    mask = torch.ones_like(batch)
    mask[0, :2] = 0
    out = model.generate(batch, attention_mask=mask, **settings)[0, 2:]
    assert torch.equal(out, full[0]), f"generate() of a left-padded row gives {out.tolist()}, not {full[0].tolist()}"


def check_model(folder, remote, golden):
    """Logits, loss and generation of an opened folder against a golden's expected.json."""
    model = open_model(folder, remote)
    assert type(model).__name__.startswith("Fathom") == remote, f"opened as {type(model).__name__}"
    ids = torch.tensor(golden["tokens"][0])
    with torch.no_grad():
        logits = model(ids[:, :-1]).logits[0]
        loss = model(ids, labels=ids).loss.item()
        check_generate(model, ids)
    expected = torch.tensor(golden["expected"]["logits_first_sequence"], dtype=torch.float64).view(logits.shape)
    deviation = compare(logits, expected, "logits")
    assert abs(loss - golden["expected"]["loss"]) <= 1e-5 * loss, f"loss {loss}, expected {golden['expected']['loss']}"
    return deviation


def as_fathom(source, target, **changes):
    """A copy of a golden's checkpoint as Fathom writes one that stock models can't compute."""
    target.mkdir()
    config = {**json.loads((source / "config.json").read_text()), **FATHOM_KEYS, **changes}
    (target / "config.json").write_text(json.dumps(config))
    shutil.copy(source / "model.safetensors", target)
    shutil.copy(MODELING, target)
    return target


def check_golden(source, scratch):
    golden = json.loads((source / "expected.json").read_text())
    config = json.loads((source / "config.json").read_text())
    copy = as_fathom(source, scratch / "fathom")
    check_refused(copy)
    deviation = check_model(copy, True, golden)
    if config["norm_scheme"]["type"] == "pre":
        deviation = max(deviation, check_model(source, False, golden))
    return deviation


def check_unknown_schemes(scratch):
    """What modeling_fathom.py does not know it refuses."""
    source = REPOSITORY / "tests/golden/data/lns"
    schemes = ({"type": "lnss"}, {"type": "lns", "power": 1}, {"type": "lns", "layer_index": [1]})
    for number, scheme in enumerate(schemes):
        try:
            open_model(as_fathom(source, scratch / f"unknown-{number}", norm_scheme=scheme), remote=True)
        except ValueError as error:
            assert "norm_scheme" in str(error), error
        else:
            raise AssertionError(f"opened with norm_scheme {scheme}")


def check_checkpoint(folder, fathom, scratch):
    """Logits of a checkpoint that Fathom wrote: those of `fathom logits` against those of transformers."""
    config = json.loads((folder / "config.json").read_text())
    rng = random.Random(1)
    sequences = [[rng.randrange(config["vocab_size"]) for _ in range(length)] for length in (33, 8)]
    ids_file, out_file = scratch / "ids.json", scratch / "logits.json"
    ids_file.write_text(json.dumps(sequences))
    run(fathom, "logits", folder, "--token-ids", ids_file, "--out", out_file)
    remote = config["model_type"] == "fathom"
    if remote:
        check_refused(folder)
        same = (folder / "modeling_fathom.py").read_bytes() == MODELING.read_bytes()
        assert same, "its modeling_fathom.py is not the repository's"
    model = open_model(folder, remote)
    deviations = []
    for sequence, ours in zip(sequences, json.loads(out_file.read_text())["logits"], strict=True):
        # A sequence of n ids may count as n - 1 inputs and n - 1 targets.
        assert len(ours) in (len(sequence), len(sequence) - 1), f"{len(ours)} rows of logits for {len(sequence)} ids"
        with torch.no_grad():
            theirs = model(torch.tensor([sequence[: len(ours)]]), use_cache=False).logits[0]
        deviations.append(compare(torch.tensor(ours, dtype=torch.float64), theirs, "fathom's logits"))
    return max(deviations)


# ---- checkpoints by the fathom under test ---------------------------------------------------------------------------

def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    shown = " ".join(map(str, command))
    assert done.returncode == 0, f"exit code {done.returncode} of `{shown}`: {done.stderr.strip()}"


def train_checkpoints(fathom, scratch):
    """Two steps of a tiny model under each scheme, on text made here; yields (name, checkpoint folder)."""
    rng = random.Random(2)
    words = ["".join(rng.choice("abcdefghijklmnop") for _ in range(rng.randint(2, 8))) for _ in range(300)]
    text = scratch / "text.txt"
    text.write_text("\n\n".join(" ".join(rng.choice(words) for _ in range(200)) + "." for _ in range(60)))
    model = scratch / "model.json"
    model.write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 56,
        "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 5, "vocab_size": 320,
        "hidden_act": "silu", "initializer_range": 0.1, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2}))
    run(fathom, "tokenizer", "train", "--input", text, "--vocab", 320, "--out", scratch / "tokenizer.model")
    run(fathom, "data", "--input", text, "--tokenizer", scratch / "tokenizer.model", "--out", scratch / "data",
        "--valid-fraction", 0.1)
    for scheme in SCHEMES:
        out = scratch / f"run-{scheme}"
        run(fathom, "train", "--model", model, "--norm", scheme, "--data", scratch / "data", "--out", out, "--steps", 2,
            "--batch", 2, "--seq", 32, "--lr", 0.01, "--warmup", 1, "--dtype", "fp32")
        yield f"trained {scheme}", out / "checkpoints" / "step-2"


def goldens():
    """Golden folders: the repository's, and those of FATHOM_SHARED or ../shared where present."""
    shared = Path(os.environ.get("FATHOM_SHARED", REPOSITORY.parent / "shared")) / "golden"
    for root in (REPOSITORY / "tests/golden/data", shared):
        folders = sorted(path.parent for path in root.glob("*/expected.json"))
        if not folders:
            print(f"SKIPPED: no goldens in {root}")
        yield from folders


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fathom", type=Path, help="the fathom program")
    parser.add_argument("checkpoints", nargs="*", type=Path, help="checkpoint folders that it wrote")
    args = parser.parse_args()
    if args.checkpoints and not args.fathom:
        parser.error("CHECKPOINT needs --fathom")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")

    failed = passed = 0

    def report(name, check, *arguments):
        nonlocal failed, passed
        scratch = Path(tempfile.mkdtemp(dir=SCRATCH.name))
        try:
            deviation = check(*arguments, scratch)
            print(f"ok    {name}" + (f": {deviation:.1e} of the largest logit" if deviation is not None else ""))
            passed += 1
        except AssertionError as error:
            print(f"FAIL  {name}: {error}")
            failed += 1

    report("unknown schemes refused", check_unknown_schemes)
    for folder in goldens():
        report(f"golden {folder.parent.parent.name}/{folder.parent.name}/{folder.name}", check_golden, folder)
    if args.fathom:
        scratch = Path(tempfile.mkdtemp(dir=SCRATCH.name))
        written = [(str(folder), folder) for folder in args.checkpoints] or train_checkpoints(args.fathom, scratch)
        for name, folder in written:
            report(name, check_checkpoint, folder, args.fathom)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
