#!/bin/sh
# Installs the packages of the given groups of packages.txt that are missing: lists them first, then asks apt
# (through sudo where the user is not root). On a system without dpkg it installs nothing: CMake names what it does not
# find. Usage: scripts/install-packages.sh GROUP...
set -eu
cd "$(dirname "$0")/.."

if ! command -v dpkg-query >/dev/null; then
  # Once: every build begins with this group.
  [ "${1:-}" != build ] || echo "This is no Debian system: nothing is installed; packages.txt names what is needed, as in Debian 12." >&2
  exit 0
fi

wanted=""
for group in "$@"; do
  wanted="$wanted $(awk -v want="$group" '
    /^# group:/ { current = $3 }
    !/^#/ && NF && current == want { print $1 }' packages.txt)"
done
missing=""
for package in $wanted; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "Missing Debian packages, to be installed now:"
for package in $missing; do echo "  $package"; done
if ! command -v apt-get >/dev/null; then
  echo "There is no apt-get: install the packages above by hand, then run make again." >&2
  exit 1
fi
run=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "Not root and no sudo: ask an administrator to install the packages above." >&2; exit 1; }
  run="sudo"
fi
said=$(mktemp)
trap 'rm -f "$said"' EXIT
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
$run apt-get update -qq
# shellcheck disable=SC2086
$run apt-get install -y -qq --no-install-recommends $missing >"$said" 2>&1 || { cat "$said" >&2; exit 1; }
