#!/bin/sh
# Fine-tunes all of SmolLM2-135M-Instruct on the training questions of ARC-Easy (2,251), and scores the test questions
# before and after. Usage: examples/finetune-smollm2.sh MODEL QUESTIONS [OUT]
#   MODEL: the GGUF file that examples/diagnose-smollm2.sh fetches, or any model; QUESTIONS: a folder of
#   <task>.<split>.jsonl. FATHOM: the program; EPOCHS (2), RATE (2e-5), LIMIT (all test questions), MORE (further flags)
set -eu
cd "$(dirname "$0")/.."
model=${1:?usage: examples/finetune-smollm2.sh MODEL QUESTIONS [OUT]}
questions=${2:?usage: examples/finetune-smollm2.sh MODEL QUESTIONS [OUT]}
out=${3:-finetune-smollm2-out}
fathom=${FATHOM:-build/release/src/cli/fathom}
limit=${LIMIT:+--limit $LIMIT}

mkdir -p "$out"
echo "== Before"
[ -e "$out/before.json" ] || "$fathom" eval "$model" --tasks arc_easy --data "$questions" $limit --json "$out/before.json"
echo "== Fine-tuning"
if [ -e "$out/run/run.toml" ]; then
  "$fathom" finetune --resume --out "$out/run" --json "$out/finetune.json"
else
  "$fathom" finetune "$model" --data "$questions/arc_easy.train.jsonl" --valid-data "$questions/arc_easy.validation.jsonl" \
    --out "$out/run" --epochs "${EPOCHS:-2}" --lr "${RATE:-2e-5}" --batch 8 --grad-accum 1 --seq 256 --recompute --keep 1 --seed 1 \
    --json "$out/finetune.json" ${MORE:-}
fi
echo "== After"
"$fathom" eval "$out/run" --tasks arc_easy --data "$questions" $limit --json "$out/after.json"
