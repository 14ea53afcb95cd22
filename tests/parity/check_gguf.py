#!/usr/bin/env python3
"""The PyPI package `gguf` (gguf-py of ggml-org/llama.cpp) must open what Fathom's GGUF writer writes, and read the same
values.

    check_gguf.py --io-test BIN

Has io_test write its sample (tests/io/gguf_writer_test.cpp, WritesASampleForOtherReaders), whose tensors hold
i / 64 - 1 for element i. Exit code 0 if all agree, 1 if not, 77 with "SKIPPED: reason" where the package is absent
(`make parity-venv` installs it).
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy as np
except ImportError as error:
    print(f"SKIPPED: {error}; `make parity-venv` installs what is needed")
    sys.exit(77)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--io-test", required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "sample.gguf"
        subprocess.run([arguments.io_test, "--gtest_filter=GgufWriter.WritesASampleForOtherReaders"], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "FATHOM_GGUF_SAMPLE": str(path)})
        reader = gguf.GGUFReader(path)
    fields = {"general.architecture": "llama", "llama.block_count": 12, "tokenizer.ggml.tokens": ["<s>", "\u2581a"],
              "tokenizer.ggml.token_type": [3, 1]}
    for key, expected in fields.items():
        if reader.get_field(key).contents() != expected:
            sys.exit(f"{key}: {reader.get_field(key).contents()}, expected {expected}")
    values = np.arange(128, dtype=np.float32).reshape(2, 64) / 64 - 1
    # i / 64 - 1 is exact in fp16 and bf16; Q8_0 is gguf-py's own.
    kinds = {t.name: t for t in reader.tensors}
    for name in ["F32", "F16", "BF16", "Q8_0"]:
        tensor = kinds[name]
        qtype = gguf.GGMLQuantizationType[name]
        if tensor.tensor_type != qtype or list(tensor.shape) != [64, 2]:
            sys.exit(f"{name}: type {tensor.tensor_type.name}, shape {tensor.shape}")
        read = gguf.quants.dequantize(tensor.data, qtype)
        expected = gguf.quants.dequantize(gguf.quants.quantize(values, qtype), qtype)
        if not np.array_equal(read.reshape(2, 64), expected.reshape(2, 64)):
            sys.exit(f"{name}: other values")
    print(f"gguf {len(fields)} metadata keys and {len(kinds)} tensors agree")


main()
