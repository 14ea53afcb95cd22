#!/usr/bin/env python3
"""Golden requests and log-likelihoods for `fathom eval`, by a program that shares nothing with it.

    make_golden_eval.py make      write tests/eval/data (in the environment of `make parity-venv`)
    make_golden_eval.py check     recompute it; exit 1 where it differs, 77 with "SKIPPED: reason" without what it needs

Texts are rendered by the Python below, from the table in docs/evaluation.md; ids come from Hugging Face `tokenizers`;
likelihoods from the float64 model of tests/golden/make_golden.py, one request at a time, nothing shared or packed.
Two cases: a byte-level BPE without BOS under LNS, and a SentencePiece-like BPE with BOS under Pre-LN. The items are
invented. The context is short, so that some requests lose ids at their start.
"""

import json
import math
import random
import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/golden"))
try:
    import numpy as np
    import torch
    import tokenizers
    import make_golden
except ImportError as error:
    print(f"SKIPPED: {error}; `make parity-venv` installs what is needed")
    sys.exit(77)

DATA = Path(__file__).resolve().parent / "data"
CONTEXT = 160
CASES = {"bpe-lns": ("smollm2", {"type": "lns"}, None), "sentencepiece-pre": ("llama-2", {"type": "pre"}, "<s>")}
SPLITS = {"arc_easy": "test", "arc_challenge": "test", "openbookqa": "test", "mmlu": "test"}

ITEMS = {
    "arc_easy": [
        {"query": "What does a lead line measure?", "choices": ["the depth of water", "wind", "the ship's age", "salt"], "gold": 0},
        {"query": "Which of these floats?", "choices": ["iron", "a stone", "cork"], "gold": 2},
        {"query": "A vessel of 12 fathoms' draught needs how much water?", "choices": ["1 foot", "72 feet or more", "none"], "gold": 1},
        {"query": "Caf\u00e9s on the quay open \u2026", "choices": ["at dawn", "never", "at 3.5 o'clock", "under water", "\u2603"], "gold": 0}],
    "piqa": [
        {"query": "To dry a wet sail, ", "choices": ["hang it in the wind.", "hang it in the sea. "], "gold": 0},
        {"query": "keep rope from rotting", "choices": ["tar it", "tar the captain and then  the rope"], "gold": 0}],
    "hellaswag": [
        {"query": "Sailing: A man stands at the helm. [title] He", "choices": ["turns  the wheel.", "turns [step] into the sea.", " sleeps.", "is the wheel."], "gold": 0},
        {"query": "Sounding: Two people lower a line. They", "choices": ["read its mark.", "eat it.", "fly away on it.", "sing to it for a week."], "gold": 0}],
    "boolq": [
        {"query": "A fathom is six feet. It was once the span of two arms.\nis a fathom longer than a foot?", "choices": ["no", "yes"], "gold": 1},
        {"query": "The harbour is shallow. " * 14 + "\nis the harbour deep?", "choices": ["no", "yes"], "gold": 0}],
    "winogrande": [
        {"query": "The mate trusted the captain because", "choices": ["the captain knew the reef.", "the mate knew the reef."], "gold": 0,
         "contexts": ["The mate trusted the captain because the captain", "The mate trusted the captain because the mate"], "continuation": " knew the reef."},
        {"query": "The rope held the boat until", "choices": ["the rope broke.", "the boat broke."], "gold": 0,
         "contexts": ["The rope held the boat until the rope", "The rope held the boat until the boat"], "continuation": " broke."}],
    "openbookqa": [
        {"query": "Deep water is usually", "choices": ["dark", "dry", "square", "loud as a drum"], "gold": 0},
        {"query": "", "choices": ["an empty question", "nothing"], "gold": 1},
        {"query": "The tide comes in and then ", "choices": ["goes out", "stops"], "gold": 0}],
    "mmlu": [
        {"id": "marine_science/0", "query": " What is salt water? ", "choices": ["water with salt", "salt", "air", "ice"], "gold": 0},
        {"id": "marine_science/1", "query": "Line one\nline two?", "choices": ["1", "2", "3", "4"], "gold": 3},
        {"id": "philosophy/0", "query": "To be?", "choices": ["yes", "no", "both", "neither"], "gold": 2}],
    "sciq": [
        {"query": " Cold water sinks.\nWhat sinks?", "choices": ["cork", "air", "smoke", "cold water"], "gold": 3},
        {"query": "What is measured in fathoms?", "choices": ["time", "love", "mass", "depth"], "gold": 3}],
    "commonsenseqa": [
        {"query": "Where does a ship rest? ", "choices": ["harbour", "tree", "cloud", "book", "nowhere"], "gold": 0}],
}
TRAIN = {"arc_easy": [{"query": f"Example {i}?", "choices": ["yes", "no", "perhaps"], "gold": i % 3} for i in range(30)]}
DEV = {"mmlu": [{"id": f"{s}/{i}", "query": f"{s} {i}?", "choices": ["a", "b", "c", "d"], "gold": i % 4}
                for s in ("marine_science", "philosophy") for i in range(3)]}
TEXT = ("The lead was hove again, and the line ran out to twenty fathoms before it found the bottom. \u201cShoaling,\u201d said the "
        "mate.\n\n" + "By noon the water had turned from blue to green, and the captain, who had not slept, put the ship about. " * 3 +
        "Nobody spoke.\n")


# ---- rendering ------------------------------------------------------------------------------------------------------

def tidy(text):
    text = text.strip().replace(" [title]", ". ")
    return re.sub("\\[.*?\\]", "", text).replace("  ", " ")


def passage(query):
    if "\n" not in query:
        return f"Question: {query}\nAnswer:"
    support, question = query.rsplit("\n", 1)
    return f"{support.lstrip()}\nQuestion: {question}\nAnswer:"


def letters(item):
    lines = "".join(f"\n{'ABCDEFGH'[i]}. {c}" for i, c in enumerate(item["choices"]))
    return item["query"].strip() + lines + "\nAnswer:"


def render(task, item):
    """[(context, continuation)], and what acc_norm takes the length of."""
    choices = list(item["choices"])
    if task in ("mmlu", "commonsenseqa"):
        context = ("Question: " if task == "commonsenseqa" else "") + letters(item)
        choices = list("ABCDEFGH"[: len(choices)])
    elif task == "winogrande":
        return [(c, " " + item["continuation"].strip()) for c in item["contexts"]], choices
    elif task == "hellaswag":
        context, choices = tidy(item["query"]), [tidy(c) for c in choices]
    elif task == "openbookqa":
        context = item["query"]
    elif task in ("boolq", "sciq"):
        context = passage(item["query"])
    else:
        context = f"Question: {item['query']}\nAnswer:"
    return [(context, " " + c) for c in choices], choices


def described(task, item, examples):
    text = ""
    if task == "mmlu":
        subject = item["id"].split("/")[0].replace("_", " ")
        text = f"The following are multiple choice questions (with answers) about {subject}.\n\n"
    for example in examples:
        context, answer = render(task, example)[0][example["gold"]]
        text += context + answer + "\n\n"
    return text


# ---- scoring --------------------------------------------------------------------------------------------------------

class Case:
    def __init__(self, name, folder):
        fixture, scheme, bos = CASES[name]
        self.tokenizer_json = json.loads((ROOT / f"tests/text/data/{fixture}.json").read_text())["tokenizer"]
        self.tokenizer_json["post_processor"] = None
        self.tokenizer = tokenizers.Tokenizer.from_str(json.dumps(self.tokenizer_json))
        self.bos = self.tokenizer.token_to_id(bos) if bos else None
        eos = "</s>" if bos else "<|endoftext|>"
        self.prefix = self.bos if bos else self.tokenizer.token_to_id(eos)
        self.config = {**make_golden.BASE, "num_hidden_layers": 2, "vocab_size": self.tokenizer.get_vocab_size(), "norm_scheme": scheme,
                       "tie_word_embeddings": True, "max_position_embeddings": CONTEXT, "initializer_range": 0.4,
                       "bos_token_id": self.prefix, "eos_token_id": self.tokenizer.token_to_id(eos)}
        self.tokenizer_config = {"add_bos_token": bool(bos), "add_eos_token": False, "eos_token": eos,
                                 **({"bos_token": bos} if bos else {})}
        if not (folder / "model.safetensors").exists():
            rng = np.random.default_rng(list(CASES).index(name) + 11)
            arrays = make_golden.draw(self.config, name, rng)
            folder.mkdir(parents=True, exist_ok=True)
            make_golden.write_safetensors(folder / "model.safetensors", arrays)
        self.model = make_golden.Model(self.config, make_golden.read_safetensors(folder / "model.safetensors"))

    def encode(self, text, special=True):
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [self.bos] + ids if special and self.bos is not None else ids

    def pair(self, context, continuation):
        """The ids that are kept, and how many of them are the continuation."""
        if context == "":
            head, tail = [self.prefix], self.encode(continuation, special=False)
        else:
            spaces = len(context) - len(context.rstrip())
            if spaces > 0:
                context, continuation = context[:-spaces], context[-spaces:] + continuation
            head = self.encode(context)
            tail = self.encode(context + continuation)[len(head):]
        return (head + tail)[-(CONTEXT + 1):], len(tail)

    def nll(self, ids, scored):
        """Minus the log of the probability of each of the last `scored` ids."""
        with torch.no_grad():
            logits = self.model.head(self.model.streams(torch.tensor([ids[:-1]]))[-1])[0].log_softmax(-1)
        return [-logits[i - 1, ids[i]].item() for i in range(len(ids) - scored, len(ids))]


def pooled_stderr(values, strata):
    """As lm_eval.api.metrics.pooled_sample_stderr has it of the subjects' standard errors; of one stratum the plain one."""
    parts = [[v for v, s in zip(values, strata) if s == name] for name in sorted(set(strata))]
    if len(values) == len(parts):
        return None
    errors = [(len(p), float(np.std(p, ddof=1) / math.sqrt(len(p)))) for p in parts if len(p) > 1]  # one item has none, of weight 0
    variance = sum((n - 1) * e * e * n for n, e in errors) / (len(values) - len(parts))
    return float(math.sqrt(variance / len(values)))


def score(case, task, items, examples):
    """The requests of each item, and the task's metrics."""
    out, right, right_norm = [], [], []
    for item, shots in zip(items, examples):
        prefix = described(task, item, shots)
        pairs, texts = render(task, item)
        requests = []
        for context, continuation in pairs:
            ids, scored = case.pair(prefix + context, continuation)
            requests.append({"context": prefix + context, "continuation": continuation, "ids": ids, "scored": scored,
                             "log_likelihood": -sum(case.nll(ids, scored))})
        values = np.array([r["log_likelihood"] for r in requests])
        right.append(float(np.argmax(values) == item["gold"]))
        right_norm.append(float(np.argmax(values / np.array([float(len(t)) for t in texts])) == item["gold"]))
        out.append(requests)
    strata = [item["id"].split("/")[0] if task == "mmlu" else "" for item in items]
    stderr = lambda x: pooled_stderr(x, strata)
    return {"items": out, "acc": float(np.mean(right)), "acc_stderr": stderr(right), "acc_norm": float(np.mean(right_norm)),
            "acc_norm_stderr": stderr(right_norm)}


def few_shot(task, items, shots):
    """As the harness draws: random.Random(1234), one sample an item; mmlu: the first of the subject's dev split."""
    if task == "mmlu":
        return [[e for e in DEV[task] if e["id"].split("/")[0] == item["id"].split("/")[0]][:shots] for item in items]
    rng = random.Random(1234)
    return [rng.sample(TRAIN[task], shots) for _ in items]


def perplexities(case):
    """Hugging Face's strided windows (24, 10) and llama.cpp's chunks of 32."""
    ids = case.encode(TEXT)
    total, count, previous = 0.0, 0, 0
    for begin in range(0, len(ids), 10):
        end = min(begin + 24, len(ids))
        scored = min(end - previous, end - begin - 1)
        if scored > 0:
            total += sum(case.nll(ids[begin:end], scored))
            count += scored
        previous = end
        if end == len(ids):
            break
    chunks = []
    for begin in range(0, len(ids) - 31, 32):
        chunk = ids[begin:begin + 32]
        if case.bos is not None:
            chunk[0] = case.bos
        chunks += case.nll(chunk, 15)
    return {"hf": {"loss": total / count, "tokens": count},
            "llama.cpp": {"loss": float(np.mean(chunks)), "tokens": len(chunks), "loss_stderr": float(np.std(chunks) / math.sqrt(len(chunks) - 1))},
            "words": len(TEXT.split()), "bytes": len(TEXT.encode())}


# ---- files ----------------------------------------------------------------------------------------------------------

def write_lines(path, items):
    path.write_text("".join(json.dumps(item) + "\n" for item in items))


def expected(case):
    plain = {task: score(case, task, items, [[]] * len(items)) for task, items in ITEMS.items()}
    shots = {task: score(case, task, ITEMS[task], few_shot(task, ITEMS[task], 2)) for task in ("arc_easy", "mmlu")}
    return {"zero_shot": plain, "two_shot": shots, "perplexity": perplexities(case)}


def make():
    for name in CASES:
        folder = DATA / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").unlink(missing_ok=True)
        case = Case(name, folder)
        (folder / "config.json").write_text(json.dumps(case.config, indent=1) + "\n")
        (folder / "tokenizer.json").write_text(json.dumps(case.tokenizer_json, separators=(",", ":")) + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps(case.tokenizer_config, indent=1) + "\n")
        (folder / "expected.json").write_text(json.dumps(expected(case), separators=(",", ":")) + "\n")
    for task, items in ITEMS.items():
        write_lines(DATA / f"{task}.{SPLITS.get(task, 'validation')}.jsonl", items)
    for files, split in ((TRAIN, "train"), (DEV, "dev")):
        for task, items in files.items():
            write_lines(DATA / f"{task}.{split}.jsonl", items)
    (DATA / "text.txt").write_text(TEXT)


def differences(a, b, where=""):
    if isinstance(a, dict):
        return [d for k in a for d in differences(a[k], b[k], f"{where}/{k}")] + [f"{where}: other keys"] * (a.keys() != b.keys())
    if isinstance(a, list):
        return [d for i, (x, y) in enumerate(zip(a, b)) for d in differences(x, y, f"{where}/{i}")] + [f"{where}: other length"] * (len(a) != len(b))
    same = abs(a - b) <= 1e-9 * max(1, abs(a)) if isinstance(a, float) and isinstance(b, float) else a == b
    return [] if same else [f"{where}: {a} stored, {b} computed"]


def check():
    bad = []
    for name in CASES:
        bad += differences(json.loads((DATA / name / "expected.json").read_text()), json.loads(json.dumps(expected(Case(name, DATA / name)))), name)
    print("\n".join(bad[:10]) or "all as stored")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit({"make": make, "check": check}[sys.argv[1]]())
