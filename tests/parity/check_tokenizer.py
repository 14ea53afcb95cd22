#!/usr/bin/env python3
"""Hugging Face `transformers` and SentencePiece must give Fathom's token ids, from the files that Fathom writes.

    check_tokenizer.py [--fathom BIN]

Trains a tokenizer with `fathom tokenizer train` and encodes real text and random strings with `fathom data`; then reads
the ids out of the token shard and holds them to AutoTokenizer's and SentencePiece's, and what those decode to the text.
Real text is the validation split of FATHOM_SHARED or ../shared where present, else this repository's own prose and code.
Two things differ on purpose (src/text/tokenizer.h), so that of such strings only the decoded text is compared: U+2581,
which SentencePiece takes for a space, and the names of special tokens, which `transformers` takes for the tokens. Exit
code 0 if all agree, 1 if not, 77 with "SKIPPED: reason" where a library is absent (`make parity-venv` installs them).
"""

import argparse
import array
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

SCRATCH = tempfile.TemporaryDirectory(prefix="fathom-parity-")
os.environ.update(HF_HOME=SCRATCH.name, HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
try:
    import sentencepiece
    from transformers import AutoTokenizer
except ImportError as error:
    print(f"SKIPPED: {error}; `make parity-venv` installs what is needed")
    sys.exit(77)

REPOSITORY = Path(__file__).resolve().parents[2]
EOS = 2
HEADER_BYTES = 128  # src/text/shards.h
PIECES_THAT_DIFFER = ("\u2581", "<s>", "</s>", "<unk>")


def real_texts():
    """Texts of the shared corpus, or of this repository."""
    shared = Path(os.environ.get("FATHOM_SHARED", REPOSITORY.parent / "shared")) / "data/corpus/valid.jsonl.zst"
    if shared.exists() and shutil.which("zstd"):
        lines = subprocess.run(["zstd", "-dcq", "--long=27", shared], check=True, capture_output=True).stdout
        return [json.loads(line)["text"] for line in lines.splitlines()]
    paths = [path for suffix in ("*.md", "*.h", "*.cpp", "LICENSE") for path in sorted(REPOSITORY.rglob(suffix))]
    return [path.read_text(encoding="utf-8") for path in paths if ".venv" not in str(path) and "/build" not in str(path)]


def random_texts(count):
    """Strings of what tokenizers stumble over; fixed seed."""
    rng = random.Random(1)
    chunks = [" ", "  ", "      ", "the", " measure", "1847", "\n\n", "\t", "\r\n", "\0", "\x1b", "\x7f", "\u00a0", "\u200d",
              "\u0301", "e\u0301", "\ufeff", "\ufffd", "\u4e2d\u6587", "\U0001f468\u200d\U0001f469", "\U0010ffff", "aaaaaaaaaa",
              ". ", "\u2014", "caf\u00e9", "<0x41>", *PIECES_THAT_DIFFER]
    for _ in range(count):
        parts = [rng.choice(chunks) if rng.random() < 0.8 else chr(rng.choice([rng.randrange(1, 0xd800), rng.randrange(0x80)]))
                 for _ in range(rng.randrange(1, 40))]
        yield "".join(parts)


def fathom_ids(fathom, texts, folder, vocab):
    """Trains on the real texts, encodes all, and returns the ids of each and the tokenizer's folder."""
    real, every = folder / "real.jsonl", folder / "all.jsonl"
    real.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts["real"]))
    every.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts["real"] + texts["random"]))
    tokenizer, data = folder / "tokenizer", folder / "data"
    run(fathom, "tokenizer", "train", "--input", real, "--vocab", str(vocab), "--out", tokenizer, "--sample-mib", "8")
    run_data(fathom, every, tokenizer, data)
    return read_documents(data, EOS), tokenizer


def run(fathom, *command):
    """Runs Fathom; shows what it says where it fails."""
    done = subprocess.run([fathom, *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"FAILED: fathom {' '.join(map(str, command))}: {done.stderr.strip()}")


def run_data(fathom, text_file, tokenizer, out):
    run(fathom, "data", "--input", text_file, "--tokenizer", tokenizer, "--out", out, "--valid-fraction", "0")


def read_documents(data, eos):
    """The ids of each document of a data folder's only shard."""
    shard = (data / "train-00000.fathom-tokens").read_bytes()
    magic, _, header_bytes, _, width = struct.unpack_from("<8s4I", shard)
    assert magic == b"FATHOMTK" and header_bytes == HEADER_BYTES, "not a token shard"
    ids = array.array({2: "H", 4: "I"}[width], shard[HEADER_BYTES:]).tolist()
    documents, begin = [], 0
    while begin < len(ids):
        end = ids.index(eos, begin)
        documents.append(ids[begin:end])
        begin = end + 1
    return documents


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fathom", default=REPOSITORY / "build/release/src/cli/fathom", type=Path)
    fathom = parser.parse_args().fathom
    if not fathom.exists():
        print(f"SKIPPED: no {fathom}; build it, or name it with --fathom")
        sys.exit(77)
    texts = {"real": real_texts(), "random": list(random_texts(3000))}
    documents, tokenizer = fathom_ids(fathom.resolve(), texts, Path(SCRATCH.name), 4096)
    hugging_face = AutoTokenizer.from_pretrained(tokenizer)
    piece = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer / "tokenizer.model"))
    every = texts["real"] + texts["random"]
    failures = [] if len(documents) == len(every) else [f"{len(documents)} documents of {len(every)}"]
    compared = 0
    for text, ids in zip(every, documents):
        found = []
        if not any(special in text for special in PIECES_THAT_DIFFER):
            compared += len(ids)
            found = [name for name, other in (("transformers", hugging_face.encode(text)), ("SentencePiece", piece.encode(text)))
                     if other != ids]
        found += [f"{name}'s decoding" for name, other in (("transformers", hugging_face.decode(ids)),
                                                           ("SentencePiece", piece.decode(ids))) if other != text]
        failures += [f"{name} differs on {text[:60]!r}" for name in found]
    for failure in failures[:20]:
        print(f"FAILED: {failure}")
    print(f"{len(texts['real'])} texts and {len(texts['random'])} random strings, {compared} ids compared, "
          f"{len(failures)} differences")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
