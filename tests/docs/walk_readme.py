#!/usr/bin/env python3
"""Runs the commands of README's "A first hour" as they stand there, on a text of its own and with a model and token counts that
take seconds: what is replaced is in REPLACED, everything else is run word for word.

    walk_readme.py --fathom build/release/src/cli/fathom
"""

import argparse
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = ("time year people way day man thing woman life child world school state family student group country problem hand part "
         "place case week company system program question work government number night point home water room mother area money "
         "story fact month lot right study book eye job word business issue side kind head house service friend father").split()
TINY = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 24, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 4096,
        "max_position_embeddings": 256, "tie_word_embeddings": True}
RECIPE = "batch = 8\nseq = 64\nlr = 1e-3\nwarmup = 4\neval_every = 20\neval_tokens = 2048\nprobe_every = 10\n"
REPLACED = [("configs/deep-10m.json", "tiny.json"), ("configs/deep-10m.toml", "tiny.toml"), ("--tokens 5M", "--tokens 32K"), ("--tokens 1M", "--tokens 4K"), ("--tokens 4096", "--tokens 512"),
            ("--tokens 8192", "--tokens 1024"),
            ("--tokens 2048", "--tokens 512"), ("15-30", "15-24"), ("20-30", "20-24")]
# What a reader would bring: made just before the first command that names it.
BROUGHT = {
    "model.gguf": "fathom export runs/pre --out model.gguf",
    "other-probe.json": "fathom probe runs/lns --data data --tokens 512 --level quick --json other-probe.json",
    "deepseek-llm-7b": "ln -s runs/pre deepseek-llm-7b",
}
ITEMS = [{"id": str(i), "query": f"What is {WORDS[i]}?", "choices": WORDS[i:i + 4], "gold": i % 4} for i in range(20)]


def write_texts(folder, documents):
    """Documents of some twenty sentences each, with syllables of their own, so that a vocabulary of 4,096 can be filled."""
    folder.mkdir()
    rng = random.Random(1)

    def name():
        return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))

    def sentence():
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(4, 14))).capitalize() + f" {name()} {name()}."

    for i in range(documents):
        (folder / f"{i}.txt").write_text(" ".join(sentence() for _ in range(20)))


def commands():
    section = (ROOT / "README.md").read_text().split("## A first hour")[1].split("\n## ")[0]
    for line in re.findall(r"^ {4}(fathom .*)", section, re.M):
        for old, new in REPLACED:
            line = line.replace(old, new)
        yield line


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fathom", required=True, type=pathlib.Path)
    fathom = parser.parse_args().fathom.resolve()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "bin").mkdir()
        (work / "bin" / "fathom").symlink_to(fathom)
        for name in ("configs", "tests"):
            (work / name).symlink_to(ROOT / name)
        (work / "tiny.json").write_text(json.dumps(TINY))
        (work / "tiny.toml").write_text(RECIPE)
        write_texts(work / "my-text", 450)
        (work / "book.txt").write_text("\n\n".join((work / "my-text" / f"{i}.txt").read_text() for i in range(12)))
        (work / "eval-data").mkdir()
        for name in ("arc_easy.test", "piqa.validation", "hellaswag.validation"):
            (work / "eval-data" / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
        (work / "examples.jsonl").write_text("".join(
            json.dumps({"prompt": item["query"], "response": item["choices"][item["gold"]]}) + "\n" for item in ITEMS))
        environment = {**os.environ, "PATH": f"{work / 'bin'}:{os.environ['PATH']}"}

        def run_one(command):
            run = subprocess.run(["bash", "-c", command], cwd=work, env=environment, capture_output=True, text=True,
                                 errors="replace", check=False)
            if run.returncode != 0:
                sys.exit(f"README says: {command}\n{run.stdout[-2000:]}{run.stderr[-2000:]}exit code {run.returncode}")

        count = 0
        for command in commands():
            for name, how in BROUGHT.items():
                if name in command and not (work / name).exists():
                    run_one(how)
            run_one(command)
            count += 1
        if count < 10:
            sys.exit(f"README shows only {count} commands")
        print(f"{count} commands of README ran")


if __name__ == "__main__":
    main()
