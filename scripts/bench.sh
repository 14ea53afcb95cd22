#!/bin/sh
# `make bench`: this machine's limits, our kernels, and llama-130m training steps, ours and the peer's (PyTorch, Debian's
# python3-torch), side by side in one run. Usage: scripts/bench.sh FATHOM
set -eu
cd "$(dirname "$0")/.."
fathom=$1
threads=$(nproc)
steps=${FATHOM_BENCH_STEPS:-5}
json=$(mktemp -d)
trap 'rm -rf "$json"' EXIT

lscpu | grep -E '^(Model name|CPU\(s\)|L2 cache|L3 cache)' || true
echo; echo "== This machine's limits";  "$fathom" bench peak --threads "$threads"
echo; echo "== Matrix products";        "$fathom" bench gemm --threads "$threads"

# Alternating, so that a noisy neighbour hits both: ours, peer, ours, peer.
for round in 1 2; do
  echo; echo "== llama-130m, bf16, 8 sequences of 256 tokens a micro-batch, 2 micro-batches a step: ours (round $round)"
  "$fathom" bench train --model configs/llama-130m.json --batch 8 --seq 256 --grad-accum 2 --steps "$steps" \
    --threads "$threads" --json "$json/ours-$round.json"
  echo "== the same in PyTorch (round $round)"
  if /usr/bin/python3 -c 'import torch' 2>/dev/null; then
    /usr/bin/python3 bench/peers/torch_llama.py --config configs/llama-130m.json --batch 8 --seq 256 --grad-accum 2 \
      --steps "$steps" --warmup 1 --threads "$threads" --dtype bf16 | tee "$json/torch-$round.json"
  else
    echo "SKIPPED: /usr/bin/python3 has no torch (Debian's python3-torch)"
  fi
done
/usr/bin/python3 - "$json" <<'END' || true
import glob, json, statistics, sys
ours = [json.load(open(f))["results"][0]["tokens_per_second"] for f in sorted(glob.glob(sys.argv[1] + "/ours-*.json"))]
peer = []
for f in sorted(glob.glob(sys.argv[1] + "/torch-*.json")):
    lines = [line for line in open(f) if line.startswith("{")]
    if lines:
        peer.append(json.loads(lines[-1])["tokens_per_second"])
print(f"\nours    {statistics.median(ours):8.0f} tokens/s  {['%.0f' % v for v in ours]}")
if peer:
    print(f"PyTorch {statistics.median(peer):8.0f} tokens/s  {['%.0f' % v for v in peer]}")
    print(f"ratio   {statistics.median(ours) / statistics.median(peer):8.2f}")
END
