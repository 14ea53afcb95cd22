#!/usr/bin/env python3
"""Writes tests/text/data/<family>.json: a small tokenizer.json, texts, and the ids that `tokenizers` gives for them.

    make_tokenizer_fixtures.py    (in the environment of `make parity-venv`)

Each holds {"tokenizer", "eos", "texts", "ids", "parsed"}: "ids" with the names of special tokens as text, "parsed" as tokens.
"""

import json
import random
import sys

sys.dont_write_bytecode = True
from check_foreign_tokenizers import BITS, SPACES, random_text  # noqa: E402
from check_tokenizer import REPOSITORY  # noqa: E402
import tokenizer_families  # noqa: E402

rng = random.Random(5)
prose = [path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "docs").glob("*.md"))]
common = ["", " ", "The depth of the sea.", "".join(BITS), " ".join(SPACES), prose[0][:600],
          *(random_text(rng) for _ in range(25))]
folder = REPOSITORY / "tests/text/data"
for name, make, eos in tokenizer_families.families(prose, 700):
    if name in ("t5", "unigram-bytes", "odd"):  # the rules alone are 300 KB; the parity check has them
        continue
    tokenizer = make()
    texts = [*common, f"one {eos} two{eos}{eos}\n"]
    parsed = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    tokenizer.encode_special_tokens = True
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    fixture = {"tokenizer": json.loads(tokenizer.to_str()), "eos": eos, "texts": texts, "ids": ids, "parsed": parsed}
    (folder / f"{name}.json").write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
