#!/usr/bin/env python3
"""Hugging Face `transformers` must compute Fathom's logits on what `fathom export` writes, cut text into the same ids by
its tokenizer files, and see in its hidden states what `fathom dump` writes.

    check_export.py --fathom BIN

Logits: every scheme's golden and every family's fixture as a Hugging Face folder; LNS and LayerScale also folded, when
they must open as a stock Llama without trust_remote_code; within 1e-4 of the largest logit in float32. Tokenizers: each
fixture of tests/text/data in a folder, exported to GGUF and from there to a folder, whose AutoTokenizer gives the
fixture's ids. Exit code 0 if all agree, 1 if not, 77 with "SKIPPED: reason" where `transformers` is absent (`make
parity-venv`).
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

SCRATCH = tempfile.TemporaryDirectory(prefix="fathom-export-")
os.environ.update(HF_HOME=SCRATCH.name, HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
REPOSITORY = Path(__file__).resolve().parents[2]
VENV = REPOSITORY / ".venv-parity"
try:
    import numpy as np
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
except ImportError as error:
    if VENV.exists() and Path(sys.prefix) != VENV:
        SCRATCH.cleanup()
        os.execv(VENV / "bin/python", [str(VENV / "bin/python"), *sys.argv])
    print(f"SKIPPED: {error}; `make parity-venv` installs what is needed")
    sys.exit(77)

TOLERANCE = 1e-4
FAMILIES = REPOSITORY / "tests/parity/families"
GOLDENS = REPOSITORY / "tests/golden/data"
TOKENIZERS = REPOSITORY / "tests/text/data"


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, f"`{' '.join(map(str, command))}`: {done.stderr.strip()}"


def compare(ours, theirs, what):
    assert ours.shape == theirs.shape, f"{what}: {ours.shape}, expected {theirs.shape}"
    deviation = np.abs(ours - theirs).max() / np.abs(theirs).max()
    assert deviation <= TOLERANCE, f"{what}: deviates by {deviation:.1e} of the largest"
    return deviation


def ids_for(config, scratch):
    rng = random.Random(1)
    ids = [rng.randrange(config["vocab_size"]) for _ in range(19)]
    (scratch / "ids.json").write_text(json.dumps([ids]))
    return ids


def computes_its_fixture(source):
    """Whether this transformers computes the logits that the one which made the fixture did."""
    expected = json.loads((source / "expected.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager").float().eval()
    with torch.no_grad():
        logits = model(torch.tensor(expected["tokens"]), use_cache=False).logits.double().numpy()
    return np.abs(logits - np.array(expected["logits"])).max() <= 1e-3


def check_model(fathom, source, fold, scratch):
    config = json.loads((source / "config.json").read_text())
    if config["model_type"] not in transformers.CONFIG_MAPPING and config["model_type"] != "fathom":
        return None  # younger than this transformers
    if (source / "expected.json").exists() and source.parent == FAMILIES and not computes_its_fixture(source):
        return None  # YaRN before transformers 4.50 overlooks original_max_position_embeddings
    ids = ids_for(config, scratch)
    run(fathom, "export", source, "--out", scratch / "out", *(["--fold-norm-scale"] if fold else []))
    run(fathom, "logits", source, "--token-ids", scratch / "ids.json", "--out", scratch / "logits.json")
    ours = np.array(json.loads((scratch / "logits.json").read_text())["logits"][0])
    written = json.loads((scratch / "out/config.json").read_text())
    remote = written["model_type"] == "fathom"
    assert not (fold and remote), "a folded model must be a stock class's"
    model = AutoModelForCausalLM.from_pretrained(scratch / "out", trust_remote_code=remote,
                                                 attn_implementation=None if remote else "eager").float().eval()
    with torch.no_grad():
        theirs = model(torch.tensor([ids]), use_cache=False).logits[0].double().numpy()
    return compare(ours, theirs, "logits")


def check_tokenizer(fathom, fixture, scratch):
    f = json.loads(fixture.read_text())
    folder = scratch / "model"
    size = 1 + max([*f["tokenizer"]["model"]["vocab"].values(), *(t["id"] for t in f["tokenizer"]["added_tokens"])])
    config = LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1,
                         vocab_size=size + 3, max_position_embeddings=64)
    LlamaForCausalLM(config).save_pretrained(folder, safe_serialization=True)
    (folder / "tokenizer.json").write_text(json.dumps(f["tokenizer"]))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": f["eos"]}))
    run(fathom, "export", folder, "--out", scratch / "m.gguf")
    run(fathom, "export", scratch / "m.gguf", "--out", scratch / "back")
    tokenizer = AutoTokenizer.from_pretrained(scratch / "back")
    assert tokenizer.eos_token == f["eos"], f"EOS {tokenizer.eos_token!r}"
    # `parsed`: ids where the names of special tokens stand for the tokens, as transformers has it. (A GGUF has no key for
    # two rules of Mistral's: no space in front of a text that begins with one, nor of what follows a special token.)
    for text, plain, expected in zip(f["texts"], f["ids"], f["parsed"], strict=True):
        if "\ufffd" in text or (fixture.stem == "mistral" and (plain != expected or text.startswith(" "))):
            continue
        got = tokenizer.encode(text, add_special_tokens=False)
        assert got == expected, f"{text!r}: {got[:20]}, expected {expected[:20]}"


def check_dump(fathom, scratch):
    """A .npy as numpy reads it: the hidden states of transformers, whose last entry alone is after the final norm."""
    source = FAMILIES / "llama"
    ids = ids_for(json.loads((source / "config.json").read_text()), scratch)
    run(fathom, "dump", source, "--token-ids", scratch / "ids.json", "--out", scratch / "stream.npy")
    ours = np.load(scratch / "stream.npy")
    model = AutoModelForCausalLM.from_pretrained(source).float().eval()
    with torch.no_grad():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        final = model.model.norm(torch.tensor(ours[-1])).numpy()
    assert ours.dtype == np.float32 and ours.shape[0] == len(states), f"{ours.dtype} {ours.shape}"
    deviations = [compare(ours[l], states[l][0].numpy(), f"layer {l}") for l in range(len(states) - 1)]
    return max(*deviations, compare(final, states[-1][0].numpy(), "the last layer, normed"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fathom", type=Path, required=True)
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    cases = [(f"golden {path.name}", check_model, (path, False)) for path in sorted(GOLDENS.iterdir())]
    cases += [(f"golden {name}, folded", check_model, (GOLDENS / name, True))
              for name in ("pre", "lns", "lns-pruned", "layerscale")]
    cases += [(f"family {path.name}", check_model, (path, False)) for path in sorted(FAMILIES.iterdir())]
    cases += [(f"tokenizer {path.stem}", check_tokenizer, (path,))
              for path in sorted(TOKENIZERS.glob("*.json")) if path.stem != "whitespace"]
    cases.append(("dump", check_dump, ()))
    failed = 0
    for name, check, arguments in cases:
        with tempfile.TemporaryDirectory(dir=SCRATCH.name) as scratch:
            try:
                measured = check(args.fathom, *arguments, Path(scratch))
                skipped = measured is None and check is check_model
                print(f"{'SKIPPED' if skipped else 'ok   '} {name}" + (f": {measured:.1e}" if measured else "") +
                      (": not this transformers" if skipped else ""), flush=True)
            except AssertionError as error:
                failed += 1
                print(f"FAIL  {name}: {error}", flush=True)
    print(f"{len(cases) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
