#!/bin/sh
# Fuzzes one parser from its corpus: scripts/fuzz.sh TARGET SECONDS. New inputs go to build/fuzz/found/TARGET, a crash to
# build/fuzz/crash/TARGET-*; the last line of libFuzzer's log, with the executions, is printed.
set -eu
cd "$(dirname "$0")/.."
target=$1
seconds=$2
mkdir -p "build/fuzz/found/$target" build/fuzz/crash
if ! "build/fuzz/tests/fuzz/${target}_fuzz" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -timeout=120 \
    -artifact_prefix="build/fuzz/crash/$target-" "build/fuzz/found/$target" "tests/fuzz/corpus/$target" \
    >"build/fuzz/$target.log" 2>&1; then
  tail -n 40 "build/fuzz/$target.log" >&2
  echo "$target: failed; the input is in build/fuzz/crash" >&2
  exit 1
fi
echo "$target: $(tail -n 1 "build/fuzz/$target.log")"
