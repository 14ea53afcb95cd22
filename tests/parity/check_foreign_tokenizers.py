#!/usr/bin/env python3
"""Fathom must give the ids of Hugging Face `tokenizers`, and of SentencePiece, for other people's tokenizers.

    check_foreign_tokenizers.py [--fathom BIN] [--megabytes N] [--only NAME]... [--folder DIR]

Trains tokenizers that have exactly the published pipelines of each family (tokenizer_families.py), encodes mixed text
with `fathom data`, reads the ids out of the token shard and compares. The text: prose of FATHOM_SHARED or ../shared where
present, this repository's prose and code, made-up Chinese, emoji, odd white space, random code points (those assigned by
Unicode 14, 15 and 16 among them). Exit code 0 if all agree, 1 if not, 77 with "SKIPPED: reason" where a library is absent.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
from check_tokenizer import REPOSITORY, read_documents, real_texts, run_data  # noqa: E402 (exits where a library is absent)
import sentencepiece  # noqa: E402
import tokenizer_families  # noqa: E402

SPACES = ["\u00a0", "\u2003", "\u3000", "\u200b", "\u1680", "\u180e", "\u2028", "\u0085", "\x0b", "\x0c", "\t", "\r\n", "\r",
          "\n\n", "\n \n", "  ", "     ", " \t ", "\u202f", "\ufeff"]
BITS = ["'s", "'S", "'\u017f", "'re", "'LL", "don't", "I'll", "caf\u00e9", "cafe\u0301", "\u0130stanbul", "stra\u00dfe", "\ufb01n",
        "\u212b", "\uac00\u11a8", "\u1100\u1161\u11a8", "\u0958", "123", "1234567", "\u0661\u0662", "\u00bd", "\u2160", "x\u00b2",
        "Word", "words", "[left]", "[RIGHT]", "<table>", "</div>", "</s>", "<|endoftext|>", "<unk>", "<0x41>", "\u2581", "\u2581\u2581",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f", "\U0001f600", "\u0e20\u0e32\u0e29\u0e32",
        "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0645\u0631\u062d\u0628\u0627", "\u3053\u3093\u306b\u3061\u306f", "\uff21\uff22", "...", "--", "=>", "$1.50",
        "\0", "\x1b", "\ufffd", "\uffff", "\U0010ffff", "\U0001e4d0", "\ua7cb", "\U00031350", "\U00016d40", "\U0001cc00"]


def random_text(rng):
    """What tokenizers stumble over, in one string."""
    parts = []
    for _ in range(rng.randrange(1, 60)):
        kind = rng.random()
        if kind < 0.35:
            parts.append(rng.choice(["the ", " a", "Fathom", " depth", "ing", ".", ", ", "o"]))
        elif kind < 0.55:
            parts.append(rng.choice(BITS))
        elif kind < 0.7:
            parts.append(rng.choice(SPACES))
        elif kind < 0.8:
            parts.append("".join(chr(0x4e00 + int(rng.random() ** 3 * 3000)) for _ in range(rng.randrange(1, 12))))
        elif kind < 0.9:
            parts.append(chr(rng.randrange(0x20, 0x7f)) * rng.randrange(1, 4))
        else:
            point = rng.randrange(0x110000) if rng.random() < 0.3 else rng.randrange(0x3000)
            parts.append("" if 0xd800 <= point < 0xe000 else chr(point))
    return "".join(parts)


def mixed_texts(megabytes):
    """Documents of about so many megabytes of UTF-8 in all: a quarter random, the rest prose and code."""
    rng = random.Random(2)
    texts, left = [], megabytes * 250_000
    while left > 0:
        texts.append(random_text(rng))
        left -= len(texts[-1].encode())
    every = [chr(c) for c in range(0x20, 0x33480) if not 0xd800 <= c < 0xe000]
    texts += ["".join(every[i:i + 256]) for i in range(0, len(every), 256)]
    texts += ["".join(f"a{c}b {c}1" for c in every[i:i + 256]) for i in range(0, len(every), 256)]
    left, real = megabytes * 750_000, real_texts()
    code = [p.read_text() for p in sorted((REPOSITORY / "src").rglob("*.cpp"))]
    for text in [text for pair in zip(real, code) for text in pair] + real + real:
        if left <= 0:
            break
        texts.append(text)
        left -= len(text.encode())
    return [text for text in texts if text]


def compare(name, texts, expected, found, seconds):
    failures = [(text, ours, theirs) for text, ours, theirs in zip(texts, found, expected) if ours != theirs]
    for text, ours, theirs in failures[:3]:
        at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
        print(f"FAILED: {name} differs on {text[:70]!r} at id {at}: {ours[max(0, at - 2):at + 6]} not {theirs[max(0, at - 2):at + 6]}")
    if len(found) != len(texts):
        print(f"FAILED: {name}: {len(found)} documents of {len(texts)}")
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{name}: {megabytes:.1f} MB, {sum(map(len, expected))} ids, {len(failures)} of {len(texts)} texts differ "
          f"(fathom data {seconds:.1f} s)", flush=True)
    return len(failures) + abs(len(found) - len(texts))


def encode_with_fathom(fathom, texts, tokenizer, folder, eos):
    """Documents of ids, and the seconds that `fathom data` took."""
    data, text_file = folder / "data", folder / "texts.jsonl"
    text_file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    begin = time.time()
    run_data(fathom, text_file, tokenizer, data)
    return read_documents(data, eos), time.time() - begin


def check_json(fathom, name, make, eos, texts, folder):
    tokenizer = make()
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos}))
    tokenizer.encode_special_tokens = True  # `fathom data` takes the names of special tokens for text
    expected = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    eos_id = tokenizer.token_to_id(eos)  # a Unigram model may find it in a text; it parts documents in a shard
    kept = [i for i, ids in enumerate(expected) if eos_id not in ids]
    texts, expected = [texts[i] for i in kept], [expected[i] for i in kept]
    found, seconds = encode_with_fathom(fathom, texts, folder, folder, eos_id)
    return compare(name, texts, expected, found, seconds)


def check_sentencepiece(fathom, texts, training, folder, **settings):
    name = "sentencepiece " + ", ".join(f"{key} {value}" for key, value in settings.items())
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(tokenizer_families.sentencepiece_model(training, 6000, **settings))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    found, seconds = encode_with_fathom(fathom, texts, folder, folder, processor.eos_id())
    expected = processor.encode(texts)
    # Two ways to cut a text may have the same score, and versions of the library choose differently.
    ties = [i for i, (a, b) in enumerate(zip(found, expected)) if a != b and processor.decode(a) == processor.decode(b)
            and abs(sum(map(processor.get_score, a)) - sum(map(processor.get_score, b))) < 1e-2]
    for i in ties:
        found[i] = expected[i]
    print(f"{name}: {len(ties)} ties", flush=True)
    return compare(name, texts, expected, found, seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fathom", default=REPOSITORY / "build/release/src/cli/fathom", type=Path)
    parser.add_argument("--megabytes", default=10, type=int)
    parser.add_argument("--only", action="append", help="one family, by name")
    parser.add_argument("--folder", type=Path, help="keep the tokenizers here")
    options = parser.parse_args()
    if not options.fathom.exists():
        print(f"SKIPPED: no {options.fathom}; build it, or name it with --fathom")
        sys.exit(77)
    scratch = tempfile.TemporaryDirectory(prefix="fathom-parity-")
    root = options.folder or Path(scratch.name)
    texts = mixed_texts(options.megabytes)
    rng = random.Random(3)
    training = real_texts()[:40] + [random_text(rng) for _ in range(2000)]
    for name in ("</s>", "<unk>", "<|endoftext|>"):  # lest they become pieces
        training = [text.replace(name, "") for text in training]
    failures = 0
    for name, make, eos in tokenizer_families.families(training, 6000):
        if not options.only or name in options.only:
            failures += check_json(options.fathom.resolve(), name, make, eos, texts, root / name)
    if not options.only or "sentencepiece" in options.only:
        for i, settings in enumerate(({"model_type": "unigram"}, {"model_type": "bpe", "byte_fallback": True, "split_digits": True},
                                      {"model_type": "unigram", "user_defined_symbols": ["<table>"],
                                       "normalization_rule_name": "identity", "remove_extra_whitespaces": False})):
            failures += check_sentencepiece(options.fathom.resolve(), texts, training, root / f"sentencepiece-{i}", **settings)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
