#!/usr/bin/env python3
"""scripts/make-random-model.py writes a model that `fathom probe` reads layer by layer within a given memory."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fathom", required=True)
    fathom = parser.parse_args().fathom
    with tempfile.TemporaryDirectory() as folder:
        model, ids, out = (pathlib.Path(folder) / name for name in ("model", "ids.json", "out.json"))
        subprocess.run([sys.executable, ROOT / "scripts/make-random-model.py", model, "--layers", "6", "--hidden", "512",
                        "--ffn", "1024", "--heads", "8", "--kv-heads", "4", "--vocab", "1000"], check=True)
        tensors = model / "model.safetensors"
        assert tensors.stat().st_blocks * 512 >= tensors.stat().st_size, "the file has holes"
        ids.write_text(json.dumps([[(7 * s + 31 * i) % 1000 for i in range(65)] for s in range(4)]))
        results = []
        for memory in ("64MiB", "1GiB"):
            subprocess.run([fathom, "probe", model, "--token-ids", ids, "--level", "quick", "--memory", memory, "--batch", "1",
                            "--json", out], check=True, stdout=subprocess.DEVNULL)
            results.append(json.loads(out.read_text()))
        small, large = results
        assert small["per_layer"] == large["per_layer"], "the numbers depend on the memory"
        assert small["layers_read"] == large["layers_read"] == 6, (small["layers_read"], large["layers_read"])
        assert small["forecast"]["weights_bytes"] < large["forecast"]["weights_bytes"], "nothing was streamed"
        assert 0 < small["peak_memory_bytes"] <= large["peak_memory_bytes"], "peak memory"
    print("ok")


if __name__ == "__main__":
    main()
