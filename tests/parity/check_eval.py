#!/usr/bin/env python3
"""`fathom eval` must score as lm-evaluation-harness does, item by item.

    check_eval.py --model MODEL --data DIR --fathom BIN [--tasks arc_easy,piqa] [--limit 500] [--work FOLDER]

MODEL is a Hugging Face folder or a .gguf file (which `transformers` dequantizes into a folder under --work). The
harness reads DIR/<task>.<split>.jsonl through task files that this script writes: its own request building, joint
tokenization, batching and metrics run on our lines. Each task's peer results are kept under --work, so that a run
that was cut off goes on, and the two programs may run at different times (without --fathom only the harness runs).

Held: per-item log-likelihoods within 1e-3 in fp32 and the same acc; with --dtype bf16 a median difference of 0.05 or
less over the tasks that were run. The harness runs in double where the model is Llama-shaped, norms and rotary
embeddings too, which `transformers` would do in float32: long answers sum hundreds of nats, and its own rounding in
float32 shows. Others, and --peer-dtype float32, are as `transformers` is. Exit code 0 if so, 1 if not, 77 with "SKIPPED: reason" where the harness is absent (`make eval-venv`).
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
VENV = REPOSITORY / ".venv-parity"
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error",
                  TOKENIZERS_PARALLELISM="false")
try:
    import torch
    import transformers
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
except ImportError as error:
    if VENV.exists() and Path(sys.prefix) != VENV:
        os.execv(VENV / "bin/python", [str(VENV / "bin/python"), *sys.argv])
    print(f"SKIPPED: {error}; `make eval-venv` installs what is needed")
    sys.exit(77)

SPLITS = {"arc_easy": "test", "arc_challenge": "test", "openbookqa": "test", "mmlu": "test"}  # others: validation
QUESTION = "Question: {{query}}\\nAnswer:"
PASSAGE = ("{{ (query.rsplit('\\n', 1)[0].lstrip() + '\\n') if '\\n' in query else '' }}"
           "Question: {{ query.rsplit('\\n', 1)[-1] }}\\nAnswer:")
LETTERS = ("{{ query.strip() }}{% for c in choices %}\\n{{ 'ABCDEFGHIJ'[loop.index0] }}. {{ c }}{% endfor %}\\nAnswer:")
CONTEXTS = {"openbookqa": "{{query}}", "sciq": PASSAGE, "boolq": PASSAGE, "commonsenseqa": "Question: " + LETTERS}
TASK_FILE = """task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    {split}: {file}
output_type: multiple_choice
{split_key}: {split}
doc_to_text: "{context}"
doc_to_choice: {choices}
doc_to_target: gold
metric_list:
  - metric: acc
  - metric: acc_norm
"""


def hugging_face_folder(model, work, fathom):
    """The folder itself, or one that `transformers` makes of a .gguf file, in float32. Its tokenizer is the one that
    `fathom export` writes: what `transformers` makes of a .gguf file leaves out the file's pre-tokenizer (SmolLM2's
    splits digits), and the two programs would score other tokens. Without --fathom it has to do."""
    if model.is_dir():
        return model
    folder = work / (model.stem + "-hf")
    if not (folder / "config.json").exists():
        where = {"pretrained_model_name_or_path": str(model.parent), "gguf_file": model.name}
        transformers.AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
        net = transformers.AutoModelForCausalLM.from_pretrained(**where, torch_dtype=torch.float32)
        net.save_pretrained(folder)
    if fathom and not (folder / "tokenizer-of-fathom").exists():
        with tempfile.TemporaryDirectory(dir=work) as exported:
            out = Path(exported) / "hf"
            subprocess.run([fathom, "export", model, "--format", "hf", "--type", "bf16", "--out", out], check=True)
            for name in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copyfile(out / name, folder / name)
        (folder / "tokenizer-of-fathom").touch()
    return folder


def compute_in_double():
    """`transformers` makes norms and rotary embeddings in float32 whatever the model's type is."""
    from transformers.models.llama import modeling_llama as llama

    def norm(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    def rotary(self, x, position_ids):
        assert self.rope_type == "default", "float64: a scaled RoPE is not supported"
        size = 2 * self.inv_freq.shape[0]
        frequencies = self.config.rope_theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        angles = position_ids[:, :, None].to(torch.float64) * frequencies
        both = torch.cat((angles, angles), dim=-1)
        return both.cos().to(x.dtype), both.sin().to(x.dtype)

    llama.LlamaRMSNorm.forward = norm
    llama.LlamaRotaryEmbedding.forward = rotary


def write_task(task, data, folder):
    split = SPLITS.get(task, "validation")
    letters = task == "commonsenseqa"
    text = TASK_FILE.format(task=task, split=split, file=data / f"{task}.{split}.jsonl",
                            split_key="test_split" if split == "test" else "validation_split",
                            context=CONTEXTS.get(task, QUESTION),
                            choices='["A", "B", "C", "D", "E"]' if letters else "choices")
    (folder / f"{task}.yaml").write_text(text)


def peer_results(task, folder, arguments):
    """[{"log_likelihoods", "requests", "gold"}] in the order of the file, and acc, acc_norm."""
    kept = arguments.work / f"peer-{task}-{arguments.limit}-{arguments.peer_dtype}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    tasks = arguments.work / "tasks"
    tasks.mkdir(exist_ok=True)
    write_task(task, arguments.data, tasks)
    if arguments.peer_dtype == "float64":
        compute_in_double()
    net = HFLM(pretrained=str(folder), dtype=arguments.peer_dtype, device="cpu", batch_size=8)
    result = lm_eval.simple_evaluate(model=net, tasks=[task], limit=arguments.limit, log_samples=True, bootstrap_iters=0,
                                     task_manager=TaskManager(include_path=str(tasks), include_defaults=False))
    samples = sorted(result["samples"][task], key=lambda sample: sample["doc_id"])
    items = [{"log_likelihoods": [float(r[0]) for r in s["filtered_resps"]],
              "requests": [list(a) for a in s["arguments"]], "gold": s["doc"]["gold"]} for s in samples]
    scores = result["results"][task]
    out = {"items": items, "acc": scores["acc,none"], "acc_norm": scores["acc_norm,none"],
           "lm_eval": lm_eval.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    temporary = kept.with_suffix(".tmp")
    temporary.write_text(json.dumps(out))
    temporary.rename(kept)
    return out


def our_results(task, arguments):
    out = arguments.work / f"fathom-{task}-{arguments.limit}-{arguments.dtype}.json"
    subprocess.run([arguments.fathom, "eval", arguments.model, "--tasks", task, "--data", arguments.data, "--limit",
                    str(arguments.limit), "--dtype", arguments.dtype, "--json", out], check=True)
    return json.loads(out.read_text())["tasks"][0]


def compare(task, peer, ours, dtype):
    """One line, and the differences; AssertionError where fp32's tolerance is exceeded. All are compared, so that NaN
    fails."""
    assert len(peer["items"]) == len(ours["items"]), f"{task}: {len(ours['items'])} items, expected {len(peer['items'])}"
    differences = []
    for at, (theirs, mine) in enumerate(zip(peer["items"], ours["items"])):
        assert mine["gold"] == theirs["gold"], f"{task} item {at}: another gold"
        assert len(mine["log_likelihoods"]) == len(theirs["log_likelihoods"]), f"{task} item {at}: other choices"
        differences += [abs(a - b) for a, b in zip(mine["log_likelihoods"], theirs["log_likelihoods"])]
    # max() passes over a NaN or not, as the order has it: what decides below is all().
    worst, median = max(differences), statistics.median(differences)
    finite = all(math.isfinite(d) for d in differences)
    line = (f"{task}: {len(ours['items'])} items, {len(differences)} log-likelihoods, largest difference {worst:.2e}, "
            f"median {median:.2e}; acc {ours['acc']:.4f} (harness {peer['acc']:.4f})")
    if "acc_norm" in ours:
        line += f", acc_norm {ours['acc_norm']:.4f} (harness {peer['acc_norm']:.4f})"
    if dtype == "fp32":
        assert all(d <= 1e-3 for d in differences), line
        assert ours["acc"] == peer["acc"], line
        assert ours.get("acc_norm", peer["acc_norm"]) == peer["acc_norm"], line
    else:
        assert finite, line
    return line, differences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fathom")
    parser.add_argument("--tasks", default="arc_easy,piqa,sciq,openbookqa")
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--dtype", default="fp32")
    parser.add_argument("--peer-dtype", choices=["float32", "float64", "bfloat16"])
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "eval-parity")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    folder = hugging_face_folder(arguments.model, arguments.work, arguments.fathom)
    if arguments.peer_dtype is None:
        config = json.loads((folder / "config.json").read_text())
        plain = config["model_type"] == "llama" and not config.get("rope_scaling")
        arguments.peer_dtype = "float64" if plain else "float32"
    failed, all_differences = 0, []
    for task in arguments.tasks.split(","):
        peer = peer_results(task, folder, arguments)
        if not arguments.fathom:
            print(f"{task}: harness acc {peer['acc']:.4f}", flush=True)
            continue
        try:
            line, differences = compare(task, peer, our_results(task, arguments), arguments.dtype)
            all_differences += differences
            print(line, flush=True)
        except AssertionError as error:
            failed += 1
            print(f"FAILED {error}", flush=True)
    if all_differences:
        median = statistics.median(all_differences)
        print(f"harness in {arguments.peer_dtype}, {len(all_differences)} log-likelihoods: median difference {median:.2e}")
        if arguments.dtype != "fp32" and not median <= 0.05:
            failed += 1
            print("FAILED: asked is a median of 0.05 or less")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
