#!/bin/sh
# Does the gain of a normalization scheme carry over to fine-tuning? Trains deep-10m under all eight schemes on the same
# tokens from the same seed, each at the learning rate that short runs choose for it, fine-tunes each on the training
# questions of ARC-Easy, OpenBookQA, CommonsenseQA and PIQA, scores them, and prints the table (rows schemes, columns
# tasks, average) with standard errors, marking what is within noise. What is done is skipped: start it again to go on.
# Warmup is a tenth of each run, the schedule a cosine: the defaults.
# Usage: examples/sft-comparison.sh TEXT QUESTIONS [OUT]
#   TEXT: what `fathom data` reads; QUESTIONS: a folder of <task>.<split>.jsonl (docs/evaluation.md says how they are made)
#   FATHOM: the program; TOKENS (20M), TUNE_TOKENS (1M, of each run that chooses a rate), EPOCHS (3), SCHEMES, SEED (1)
set -eu
cd "$(dirname "$0")/.."
text=${1:?usage: examples/sft-comparison.sh TEXT QUESTIONS [OUT]}
questions=${2:?usage: examples/sft-comparison.sh TEXT QUESTIONS [OUT]}
out=${3:-sft-comparison-out}
fathom=${FATHOM:-build/release/src/cli/fathom}
tokens=${TOKENS:-20M}
tune_tokens=${TUNE_TOKENS:-1M}
epochs=${EPOCHS:-3}
schemes=${SCHEMES:-"pre lns post deepnorm mix sandwich peri layerscale"}
seed=${SEED:-1}
rates="5e-4 1e-3 2e-3"
tasks="arc_easy openbookqa commonsenseqa piqa"
table="/usr/bin/python3 scripts/sft_table.py"

# A run that is complete has its result; one that was stopped goes on from its last checkpoint.
train() {  # result.json, run folder, arguments of a new run...
  result=$1; run=$2; shift 2
  [ -e "$result" ] && return
  if [ -e "$run/run.toml" ]; then "$fathom" train --resume --out "$run" --json "$result.part"
  else "$fathom" train --out "$run" --json "$result.part" "$@"; fi
  mv "$result.part" "$result"
}

mkdir -p "$out/results"
[ -e "$out/tokenizer" ] || "$fathom" tokenizer train --input "$text" --vocab 4096 --out "$out/tokenizer"
[ -e "$out/data" ] || "$fathom" data --input "$text" --tokenizer "$out/tokenizer" --out "$out/data"

data=""
for task in $tasks; do data="$data${data:+,}$questions/$task.train.jsonl"; done

for scheme in $schemes; do
  for rate in $rates; do
    echo "== $scheme: $tune_tokens tokens at $rate"
    train "$out/results/$scheme-$rate.json" "$out/rates/$scheme-$rate" --model configs/deep-10m.json \
      --norm "$scheme" --data "$out/data" --tokens "$tune_tokens" --batch 32 --seq 256 --lr "$rate" \
      --seed "$seed" --eval-every 0 --save-every 0 --keep 1 || [ -e "$out/rates/$scheme-$rate/run.toml" ]
  done
  rate=$($table rate "$out/results" "$scheme")
  echo "== $scheme: $tokens tokens at $rate"
  train "$out/results/$scheme.json" "$out/runs/$scheme" --model configs/deep-10m.json \
    --norm "$scheme" --data "$out/data" --tokens "$tokens" --batch 32 --seq 256 --lr "$rate" --seed "$seed" --keep 1
  if [ ! -e "$out/results/$scheme-tuned.json" ]; then
    echo "== $scheme: fine-tuning"
    if [ -e "$out/tuned/$scheme/run.toml" ]; then
      "$fathom" finetune --resume --out "$out/tuned/$scheme" --json "$out/results/$scheme-tuned.part"
    else
      "$fathom" finetune "$out/runs/$scheme" --data "$data" --out "$out/tuned/$scheme" --epochs "$epochs" --lr 1e-4 \
        --batch 8 --seq 256 --seed "$seed" --keep 1 --json "$out/results/$scheme-tuned.part"
    fi
    mv "$out/results/$scheme-tuned.part" "$out/results/$scheme-tuned.json"
  fi
  if [ ! -e "$out/results/$scheme-eval.json" ]; then
    echo "== $scheme: scores"
    "$fathom" eval "$out/tuned/$scheme" --tasks "$(echo $tasks | tr ' ' ',')" --data "$questions" \
      --json "$out/results/$scheme-eval.part"
    mv "$out/results/$scheme-eval.part" "$out/results/$scheme-eval.json"
  fi
done
$table table "$out/results" $schemes
