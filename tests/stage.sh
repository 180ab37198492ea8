#!/usr/bin/env bash
# Runs one named stage of the Makefile and says how long it took and how much room it left on the disk; `--summary` lists them
# all, and those that `--not-run NAME WHY` says were left out.
set -uo pipefail

ledger=${CARGO_TARGET_DIR:-target}/stages
mkdir -p "$(dirname "$ledger")"
# What fails for lack of room fails far away from the reason.
free() { df --block-size=1M --output=avail "$(dirname "$ledger")" "${TMPDIR:-/tmp}" 2>/dev/null | awk 'NR > 1 && (!least || $1 < least) {least = $1} END {printf "%.1f GB free", least / 1024}'; }

case $1 in
  --begin) : >"$ledger"; exit 0 ;;
  --not-run)
    printf '== %s: NOT RUN: %s\n' "$2" "$3" >&2
    printf '0\t%s: NOT RUN: %s\n' "$2" "$3" >>"$ledger"
    exit 0
    ;;
  --summary)
    printf '\n== stages\n'
    [ ! -s "$ledger" ] || awk -F '\t' '{printf "   %6d s  %s\n", $1, $2; sum += $1} END {printf "   %6d s  in all\n", sum}' "$ledger"
    exit 0
    ;;
esac

name=$1
shift
printf '== %s (%s)\n' "$name" "$(free)"
start=$SECONDS
"$@"
code=$?
printf '%d\t%s\n' "$((SECONDS - start))" "$name" >>"$ledger"
if [ "$code" -eq 0 ]; then
  printf '== %s: done in %d s\n' "$name" "$((SECONDS - start))"
else
  printf '== %s: FAILED after %d s (exit %d, %s)\n' "$name" "$((SECONDS - start))" "$code" "$(free)" >&2
fi
exit "$code"
