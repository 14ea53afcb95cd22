#!/bin/sh
# `make demo`: two twins on real English text, Pre-LN and LNS, from the same seed on the same tokens; what each layer's
# variance is, and what removing each layer costs. Usage: scripts/demo.sh FATHOM [OUT]
set -eu
cd "$(dirname "$0")/.."
fathom=$1
out=${2:-demo-out}
tokens=${FATHOM_DEMO_TOKENS:-2M}
started=$(date +%s)

say() { printf '\n== %s\n' "$*"; }

rm -rf "$out"
mkdir -p "$out"

say "1/6  Text: Perl's manual from Debian's perl-doc (about 6 MB of English prose; Artistic License or GPL-1+)"
perl scripts/demo-text.pl "$out/text"

say "2/6  Tokenizer (2,048 entries) and token shards"
"$fathom" tokenizer train --input "$out/text" --vocab 2048 --out "$out/tokenizer"
"$fathom" data --input "$out/text" --tokenizer "$out/tokenizer" --out "$out/data" --valid-fraction 0.05

say "3/6  Training 'pre' (Pre-LN), $tokens tokens, a deep and thin model"
"$fathom" train --model configs/demo.json --config configs/demo.toml --norm pre --data "$out/data" --out "$out/pre" --tokens "$tokens"

say "4/6  Training its twin 'lns' (LayerNorm Scaling): same seed, same tokens"
"$fathom" train --model configs/demo.json --config configs/demo.toml --norm lns --data "$out/data" --out "$out/lns" --tokens "$tokens"

say "5/6  What does removing each layer cost?"
for run in pre lns; do
  echo "-- $run"
  "$fathom" prune "$out/$run" --sweep --data "$out/data" --tokens 16384
done

say "6/6  The two side by side"
"$fathom" compare "$out/pre" "$out/lns" --html "$out/report.html"

cat <<END

What this shows: the variance of the stream grows with depth under Pre-LN and much less under LNS; which layers the loss
misses when they are removed; and that both train.
What a run this short can't show: which scheme ends up better. The models saw $tokens tokens, about a thousandth of what
the paper's smallest model saw; a difference in perplexity here is mostly a difference in how fast the first steps go, and
its standard error covers the choice of validation text, not of the seed. docs/results.md has longer runs.

Look at it: $out/report.html   (took $(( ($(date +%s) - started) / 60 )) min $(( ($(date +%s) - started) % 60 )) s)
Go on:      $fathom generate $out/lns --prompt "The reason is"
END
