#!/usr/bin/env python3
"""Hugging Face `transformers` must open what `fathom prune --drop --out` writes, and compute what the source computes
without the layers.

    check_pruned.py --fathom BIN

Families are those of tests/parity/families (a Llama, Qwen2, Gemma 2 and the others that the installed version knows), and
goldens of schemes that only modeling_fathom.py computes. For a stock family the expected logits are those of
`transformers` on the *source*, its layers taken out of the module list by hand: nothing of Fathom has a part in them. Logits
must agree to 1e-4 of the largest, in float32. Exit code 0 if all do, 1 if not, 77 with "SKIPPED: reason" where
`transformers` is absent (`make parity-venv` installs it).
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import check_logits as parity  # exits with 77 where transformers is absent
import torch

FAMILIES = parity.REPOSITORY / "tests/parity/families"
GOLDENS = parity.REPOSITORY / "tests/golden/data"
# Layers 2 and 3 of Gemma 2: what is left still alternates between windows and none, which transformers before 4.53
# takes for granted.
DROPPED = (2, 3)


def prune(source, fathom, scratch, *options):
    out = scratch / "pruned"
    parity.run(fathom, "prune", source, "--drop", ",".join(map(str, DROPPED)), "--out", out, *options)
    return out


def check_family(source, fathom, scratch):
    expected_of = json.loads((source / "expected.json").read_text())
    ids = torch.tensor(expected_of["tokens"])
    try:
        whole = parity.open_model(source, remote=False)
    except (ValueError, KeyError) as error:
        print(f"SKIPPED: {source.name}: {str(error).splitlines()[0]}")
        return None
    with torch.no_grad():
        try:
            parity.compare(whole(ids, use_cache=False).logits, torch.tensor(expected_of["logits"]), "its logits")
        except AssertionError as error:  # transformers 4.48 scales by YaRN otherwise than its successors
            print(f"SKIPPED: {source.name}: transformers {parity.transformers.__version__} itself: {error}")
            return None
        layers = whole.model.layers
        whole.model.layers = torch.nn.ModuleList(layer for l, layer in enumerate(layers, 1) if l not in DROPPED)
        expected = whole(ids, use_cache=False).logits
        folder = prune(source, fathom, scratch)
        pruned = parity.open_model(folder, remote=False)
        assert len(pruned.model.layers) == len(layers) - len(DROPPED), f"{len(pruned.model.layers)} layers"
        deviation = parity.compare(pruned(ids, use_cache=False).logits, expected, "the pruned checkpoint's logits")
    return max(deviation, parity.check_checkpoint(folder, fathom, scratch))


def check_rounded(source, fathom, scratch):
    """--store bf16: transformers opens it in bfloat16 where it may choose, and computes Fathom's logits in float32."""
    folder = prune(source, fathom, scratch, "--store", "bf16")
    model = parity.AutoModelForCausalLM.from_pretrained(folder, torch_dtype="auto")
    assert model.dtype == torch.bfloat16, f"opened as {model.dtype}"
    return parity.check_checkpoint(folder, fathom, scratch)


def check_scheme(source, fathom, scratch):
    """A scheme of our own: the layers that stay keep the scale and kind of their index in the original."""
    return parity.check_checkpoint(prune(source, fathom, scratch), fathom, scratch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fathom", type=Path, required=True, help="the fathom program")
    fathom = parser.parse_args().fathom
    parity.transformers.logging.set_verbosity_error()
    parity.transformers.logging.disable_progress_bar()
    checks = [(f"family {folder.name}", check_family, folder) for folder in sorted(FAMILIES.iterdir())]
    checks.append(("llama rounded to bf16", check_rounded, FAMILIES / "llama"))
    checks += [(f"scheme {folder.name}", check_scheme, folder) for folder in sorted(GOLDENS.iterdir())
               if json.loads((folder / "config.json").read_text())["num_hidden_layers"] > len(DROPPED)]
    failed = passed = 0
    for name, check, source in checks:
        try:
            deviation = check(source, fathom, Path(tempfile.mkdtemp(dir=parity.SCRATCH.name)))
        except AssertionError as error:
            print(f"FAIL  {name}: {error}")
            failed += 1
            continue
        if deviation is not None:
            print(f"ok    {name}: {deviation:.1e} of the largest logit")
            passed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
