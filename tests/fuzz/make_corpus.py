#!/usr/bin/env python3
"""Makes the seeds in tests/fuzz/corpus/: a few small valid files a parser, from which fuzzing starts. Files that fuzzing
found (crash-*) stay. Usage: tests/fuzz/make_corpus.py --fathom build/release/src/cli/fathom"""

import argparse
import json
import pathlib
import shutil
import struct
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent
CORPUS = HERE / "corpus"


def put(parser, name, data):
    folder = CORPUS / parser
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def safetensors():
    def file(header, size):
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + bytes(range(1, size + 1))

    def entry(dtype, shape, begin, end):
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    for dtype, width in [("F64", 8), ("F32", 4), ("F16", 2), ("BF16", 2), ("F8_E5M2", 1), ("I64", 8)]:
        put("safetensors", dtype, file({"w": entry(dtype, [2, 3], 0, 6 * width)}, 6 * width))
    put("safetensors", "scales", file({
        "__metadata__": {"format": "pt"},
        "w": entry("F8_E4M3", [2, 3], 0, 6),
        "w_scale_inv": entry("F32", [1, 1], 6, 10)}, 10))
    put("safetensors_index", "two", json.dumps(
        {"metadata": {"total_size": 16}, "weight_map": {"t": "a.safetensors", "u": "b.safetensors"}}))
    put("safetensors_index", "outside", json.dumps({"weight_map": {"t": "../a.safetensors"}}))


def gguf():
    def string(s):
        return struct.pack("<Q", len(s)) + s.encode()

    def file(version, pairs, tensors, size):
        head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs)
        for name, dims, kind, offset in tensors:
            head += string(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
            head += struct.pack("<IQ", kind, offset)
        return head + bytes(-len(head) % 32) + bytes(i % 251 for i in range(size))

    scalars = [string(f"k{kind}") + struct.pack("<I", kind) + value for kind, value in enumerate([
        b"\x01", b"\xff", b"\x01\x02", b"\x01\xff", b"\x01\x02\x03\x04", b"\xff" * 4, struct.pack("<f", 1.5), b"\x01",
        string("text"), struct.pack("<IQ", 8, 2) + string("a") + string("b"), b"\x01" * 8, b"\xff" * 8,
        struct.pack("<d", 2.5)])]
    nested = string("n") + struct.pack("<IIQIQ", 9, 9, 1, 5, 2) + bytes(8)
    split = [string("split.count") + struct.pack("<IH", 2, 1)]
    put("gguf", "metadata", file(3, scalars + [nested] + split, [], 0))
    put("gguf", "v2", file(2, [], [("w", [4, 2], 0, 0)], 32))
    blocks = {2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 20: 18}
    supers = {10: 84, 11: 110, 12: 144, 13: 176, 14: 210, 23: 136}
    for kind, size in {**blocks, **supers}.items():
        columns = 32 if kind in blocks else 256
        put("gguf", f"type-{kind}", file(3, [], [("w", [columns, 2], kind, 0)], 2 * size))


def configs():
    base = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50,
            "rope_theta": 1e4, "rms_norm_eps": 1e-5, "eos_token_id": [2, 3], "tie_word_embeddings": True}
    put("config", "llama", json.dumps(base))
    put("config", "qwen2", json.dumps({**base, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
                                       "use_sliding_window": False, "sliding_window": 8}))
    put("config", "fp8", json.dumps({**base, "quantization_config": {"quant_method": "fp8",
                                                                     "weight_block_size": [128, 128]}}))
    for i, golden in enumerate(["mix", "deepnorm", "lns-pruned"]):
        put("config", golden, (HERE.parent / "golden" / "data" / golden / "config.json").read_bytes())


def text(fathom):
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        (temp / "text.txt").write_text("the deep layers of the deep model carry little weight\n\n" * 40)
        def run(*command):
            subprocess.run([fathom, *map(str, command)], check=True, stdout=subprocess.DEVNULL)
        run("tokenizer", "train", "--input", temp / "text.txt", "--vocab", 280, "--out", temp / "tokenizer")
        run("data", "--input", temp / "text.txt", "--tokenizer", temp / "tokenizer", "--out", temp / "data")
        put("tokenizer_json", "trained", (temp / "tokenizer" / "tokenizer.json").read_bytes())
        put("tokenizer_model", "trained", (temp / "tokenizer" / "tokenizer.model").read_bytes())
        shard = next(iter(sorted((temp / "data").rglob("*.fathom-tokens"))))
        shutil.copy(shard, CORPUS / "shard" / "trained")


def chat_templates():
    data = HERE.parent / "text" / "data"
    for template in sorted((data / "chat").glob("*.jinja")):
        put("chat_template", template.stem, template.read_bytes())
    for i, snippet in enumerate(json.loads((data / "chat/renderings.json").read_text())["snippets"]):
        put("chat_template", f"construct-{i:02}", snippet["source"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fathom", required=True)
    arguments = parser.parse_args()
    (CORPUS / "shard").mkdir(parents=True, exist_ok=True)
    safetensors()
    gguf()
    configs()
    chat_templates()
    text(pathlib.Path(arguments.fathom).resolve())


main()
