#!/usr/bin/env python3
"""Hugging Face's PEFT and Fathom must mean the same by an adapter's files.

    check_adapter.py --fathom BIN                  adapters that PEFT makes beside tests/parity/families, read by BIN
    check_adapter.py --fathom BIN ADAPTER...       also: adapters that BIN wrote, opened by PEFT

Logits must agree to 1e-4 of the largest, in float32; `fathom merge` of PEFT's adapter must open in `transformers` with
the same logits. Exit code 0 if all do, 1 if not, 77 with "SKIPPED: reason" where PEFT is absent. It is in no list of
requirements, since its own would bring another PyTorch (0.21.2 beside PyTorch 1.13 was tried):
`.venv-parity/bin/pip install --no-deps peft accelerate psutil jinja2 markupsafe`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SCRATCH = tempfile.TemporaryDirectory(prefix="fathom-adapter-")
os.environ.update(HF_HOME=SCRATCH.name, HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
REPOSITORY = Path(__file__).resolve().parents[2]
VENV = REPOSITORY / ".venv-parity"
try:
    import torch
    from transformers import AutoModelForCausalLM
    from peft import LoraConfig, PeftModel, get_peft_model
except ImportError as error:
    if VENV.exists() and Path(sys.prefix) != VENV:
        SCRATCH.cleanup()
        os.execv(VENV / "bin/python", [str(VENV / "bin/python"), *sys.argv])
    print(f"SKIPPED: {error}; `make parity-venv`, and the head of {Path(__file__).name}, install what is needed")
    sys.exit(77)

FAMILIES = ("llama", "mistral", "qwen2", "gemma2")
TOLERANCE = 1e-4


def open_model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()


def ids_of(model):
    torch.manual_seed(0)
    return torch.randint(0, model.config.vocab_size, (1, 12))


def logits_of(model, ids):
    with torch.no_grad():
        return model(ids, use_cache=False).logits[0]


def fathom_logits(fathom, model, ids, folder):
    """Of fp32, by `fathom logits`."""
    (folder / "ids.json").write_text(json.dumps(ids.tolist()))
    subprocess.run([fathom, "logits", str(model), "--token-ids", str(folder / "ids.json"), "--out",
                    str(folder / "logits.json")], check=True)
    return torch.tensor(json.loads((folder / "logits.json").read_text())["logits"][0])


def compare(ours, theirs, what):
    """NaN fails."""
    deviation = ((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max()).item()
    print(f"{what}: {deviation:.1e} of the largest logit")
    return deviation <= TOLERANCE


def check_family(fathom, family, folder):
    """An adapter that PEFT makes, of which neither matrix is 0, read and merged by Fathom."""
    base = REPOSITORY / "tests" / "parity" / "families" / family
    folder.mkdir()
    plain = open_model(base)
    ids = ids_of(plain)
    before = logits_of(plain, ids)
    config = LoraConfig(r=3, lora_alpha=6, use_rslora=family == "mistral", task_type="CAUSAL_LM",
                        layers_to_transform=[1] if family == "qwen2" else None,
                        target_modules=["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"])
    model = get_peft_model(plain, config).eval()
    torch.manual_seed(1)
    for name, value in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(value, std=0.3)
    expected = logits_of(model, ids)
    if torch.allclose(before, expected, atol=1e-3):
        print(f"{family}: PEFT's adapter changes nothing")
        return False
    model.save_pretrained(folder / "adapter")
    good = compare(fathom_logits(fathom, folder / "adapter", ids, folder), expected, f"{family}: PEFT's, read by Fathom")
    merged = folder / "merged"
    subprocess.run([fathom, "merge", str(folder / "adapter"), "--out", str(merged)], check=True)
    return compare(logits_of(open_model(merged), ids), expected, f"{family}: merged, in transformers") and good


def check_written(fathom, adapter, folder):
    """An adapter of Fathom's, opened by PEFT."""
    folder.mkdir()
    base = json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    model = open_model(base)
    ids = ids_of(model)
    ours = fathom_logits(fathom, adapter, ids, folder)
    return compare(ours, logits_of(PeftModel.from_pretrained(model, adapter).eval(), ids), f"{adapter}: in PEFT")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fathom", required=True)
    parser.add_argument("adapters", nargs="*", type=Path)
    arguments = parser.parse_args()
    scratch = Path(SCRATCH.name)
    results = [check_family(arguments.fathom, family, scratch / family) for family in FAMILIES]
    results += [check_written(arguments.fathom, a, scratch / f"written-{i}") for i, a in enumerate(arguments.adapters)]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
