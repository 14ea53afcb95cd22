#!/usr/bin/env python3
"""Makes tests/io/data/: GGUF files written, quantized and dequantized by the PyPI package `gguf` (gguf-py of
ggml-org/llama.cpp, numpy), so that Fathom's readers and dequantizers are held to another implementation.

    python3 -m venv venv && venv/bin/pip install gguf==0.19.0
    venv/bin/python tests/io/make_gguf_fixtures.py

quants.gguf      for each type T a tensor `T` and an F32 tensor `expected.T`, what gguf-py makes of it; `source`,
                 which `Q8_0` and the other plain block types are quantized from; metadata of every type.
split-0000N-of-00003.gguf   four small tensors in three parts.
"""

import pathlib
import sys

try:
    import gguf
    import numpy as np
except ImportError:
    print("SKIPPED: needs the PyPI package gguf")
    sys.exit(77)

from gguf import GGMLQuantizationType as Q

DATA = pathlib.Path(__file__).parent / "data"
ROWS = 2
# Quantized by gguf-py; the others it only dequantizes, so that their blocks are random bytes with sane scales.
FROM_SOURCE = [Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0]
# Byte offsets of the fp16 scales in a block.
RANDOM = {
    Q.Q2_K: [80, 82],
    Q.Q3_K: [108],
    Q.Q4_K: [0, 2],
    Q.Q5_K: [0, 2],
    Q.Q6_K: [208],
    Q.IQ4_NL: [0],
    Q.IQ4_XS: [0],
}


def random_blocks(rng, kind, columns):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (ROWS * columns // block, size), dtype=np.uint8)
    for at in RANDOM[kind]:
        scale = rng.uniform(-0.05, 0.05, len(blocks)).astype(np.float16)
        blocks[:, at : at + 2] = scale.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(ROWS, -1)


def add_metadata(writer):
    writer.add_uint8("test.uint8", 200)
    writer.add_int8("test.int8", -100)
    writer.add_uint16("test.uint16", 60000)
    writer.add_int16("test.int16", -30000)
    writer.add_uint32("test.uint32", 4000000000)
    writer.add_int32("test.int32", -2000000000)
    writer.add_uint64("test.uint64", 1 << 63)
    writer.add_int64("test.int64", -(1 << 62))
    writer.add_float32("test.float32", 0.1)
    writer.add_float64("test.float64", 0.1)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "tiefe Schichten: \u00e4\u00f6\u00fc")
    writer.add_array("test.integers", [1, -2, 3])
    writer.add_array("test.nested", [[1, 2], [3]])
    writer.add_array("test.bools", [True, False])
    writer.add_token_list(["<s>", "\u2581the", "\u0120a"])
    writer.add_token_scores([0.0, -1.5, -2.0])
    writer.add_token_types([3, 1, 1])


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_quants(path):
    rng = np.random.default_rng(20260508)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    add_metadata(writer)
    source = rng.normal(0, 0.02, (ROWS, 96)).astype(np.float32)
    source[0, :32] = 0  # a block of zeros has the scale 0
    source[1, 40] = 3.0  # an outlier
    writer.add_tensor("source", source)
    for kind in FROM_SOURCE + list(RANDOM):
        if kind in RANDOM:
            raw = random_blocks(rng, kind, 96 if kind == Q.IQ4_NL else 512)
        else:
            raw = gguf.quants.quantize(source, kind)
        expected = gguf.quants.dequantize(raw, kind)
        if kind == Q.F16:
            writer.add_tensor(kind.name, raw)
        else:
            writer.add_tensor(kind.name, raw, raw_dtype=kind)
        writer.add_tensor("expected." + kind.name, np.ascontiguousarray(expected, dtype=np.float32))
    write(writer)


def make_split(folder):
    writer = gguf.GGUFWriter(folder / "split.gguf", "llama", split_max_tensors=2, small_first_shard=True)
    for i in range(4):
        writer.add_tensor(f"t{i}", np.full((2, 3), i, dtype=np.float32))
    write(writer)


def main():
    DATA.mkdir(exist_ok=True)
    make_quants(DATA / "quants.gguf")
    make_split(DATA)


main()
