#!/usr/bin/env bash
# Davit beside its peers: the same database, the same machine, the same run, taking turns.
#
#   benches/peers/run.sh [PIECE…]     skewed-backup skewed-restore skewed-clone even small second points memory value
#                                     chunks (all of them if none is named)
#
# Prints, for each contender, the median of its rounds, its processor time and peak memory (of the client processes it
# starts), what each round took, and the ratio of medians. It judges nothing.
#
#   DAVIT_BENCH_ROUNDS (3)   rounds
#   DAVIT_BENCH_SCALE (100)  size in percent of the 1.6 GB that the documentation quotes
#   DAVIT_BENCH_DIR          a directory that is kept: databases, dumps and figures are used again by the next run, so
#                            that the pieces can be run one by one and rounds added later
#   DAVIT_BENCH_ONLY         names of contenders: the others are left out
#   DAVIT_BENCH_BUILT        set: measure what the kept directory holds, build nothing
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

rounds=${DAVIT_BENCH_ROUNDS:-3}
scale=${DAVIT_BENCH_SCALE:-100}
pieces=("$@")
[ $# -gt 0 ] || pieces=(skewed-backup skewed-restore skewed-clone even small second points memory value chunks)
for piece in "${pieces[@]}"; do
  [ -f "$here/$piece.sh" ] || { echo "there is no piece $piece" >&2; exit 2; }
done

build_davit
start_servers
for piece in "${pieces[@]}"; do . "$here/$piece.sh"; done
