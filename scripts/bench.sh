#!/bin/sh
# `make bench`: this machine's limits, our kernels, and llama-130m training steps, ours and the peers' (PyTorch: Debian's
# python3-torch, and, where FATHOM_PEER_PYTHON names a Python that has a recent one, that with torch.compile), side by side
# in one run. Usage: scripts/bench.sh FATHOM
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
echo; echo "== Attention";              "$fathom" bench attention --threads "$threads"
echo; echo "== Passes over memory";     "$fathom" bench elementwise --threads "$threads"

# A short step: 8 sequences of 256 tokens, twice, fit a laptop's memory.
peer() {
  python=$1
  shift
  "$python" bench/peers/torch_llama.py --config configs/llama-130m.json --batch 8 --seq 256 --grad-accum 2 \
    --steps "$steps" --warmup 1 --threads "$threads" --dtype bf16 "$@"
}
has_torch() { [ -n "$1" ] && "$1" -c "$2" 2>/dev/null; }

# Alternating, so that a noisy neighbour hits all: ours, peers, ours, peers.
for round in 1 2; do
  echo; echo "== llama-130m, bf16, 8 sequences of 256 tokens a micro-batch, 2 micro-batches a step: ours (round $round)"
  "$fathom" bench train --model configs/llama-130m.json --batch 8 --seq 256 --grad-accum 2 --steps "$steps" \
    --threads "$threads" --json "$json/ours-$round.json"
  echo "== the same in PyTorch (round $round)"
  if has_torch /usr/bin/python3 'import torch'; then
    peer /usr/bin/python3 | tee "$json/torch-$round.json"
  else
    echo "SKIPPED: /usr/bin/python3 has no torch (Debian's python3-torch)"
  fi
  echo "== the same in a recent PyTorch, compiled (round $round)"
  if has_torch "${FATHOM_PEER_PYTHON:-}" 'import torch; torch.compile'; then
    peer "$FATHOM_PEER_PYTHON" --compile | tee "$json/compiled-$round.json"
  else
    echo "SKIPPED: FATHOM_PEER_PYTHON names no Python whose torch has torch.compile (2.0 on)"
  fi
done
echo; echo "== Where a step's time goes"
"$fathom" bench train --model configs/llama-130m.json --batch 8 --seq 256 --grad-accum 2 --steps 1 --threads "$threads" --breakdown

/usr/bin/python3 - "$json" <<'END' || true
import glob, json, statistics, sys


def rates(name):
    """Tokens a second of each round: the last line of a run that is JSON, ours or the peer's."""
    found = []
    for path in sorted(glob.glob(f"{sys.argv[1]}/{name}-*.json")):
        text = open(path).read()
        if name == "ours":
            found.append(json.loads(text)["results"][0]["tokens_per_second"])
        else:
            lines = [line for line in text.splitlines() if line.startswith("{")]
            found += [json.loads(lines[-1])["tokens_per_second"]] if lines else []
    return found


ours = rates("ours")
print()
for name, values in (("ours", ours), ("PyTorch", rates("torch")), ("PyTorch, compiled", rates("compiled"))):
    if values:
        median = statistics.median(values)
        print(f"{name:<18} {median:8.0f} tokens/s (median of {len(values)}, spread {(max(values) - min(values)) / median:.0%})"
              + ("" if values is ours else f"   ours / it: {statistics.median(ours) / median:.2f}"))
END
