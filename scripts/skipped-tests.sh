#!/bin/sh
# What the last run of ctest in a build folder passed over, and why. Usage: scripts/skipped-tests.sh build/release
set -eu
log=$1/Testing/Temporary/LastTest.log
[ -e "$log" ] || exit 0
# A GoogleTest says "file:line: Skipped" and the reason on the next line; our scripts say "SKIPPED: reason".
reasons=$(awk '/: Skipped$/ { getline; print; next } /^SKIPPED/ { print }' "$log" | sed 's/^SKIPPED:* *//' | sort | uniq -c | sort -rn)
[ -z "$reasons" ] || printf 'Passed over (how often, why):\n%s\n' "$reasons"
