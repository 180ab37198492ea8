#!/usr/bin/env bash
# Davit beside its peers: the same database, the same machine, the same run, taking turns.
#
#   benches/peers/run.sh [skewed|even|small|memory|second|all]     (default: all)
#
# Prints, for each contender, the median of its rounds, its peak memory (of the client processes it starts) and the
# size of what it wrote; and the ratio of medians. It judges nothing. DAVIT_BENCH_ROUNDS (3) sets the rounds,
# DAVIT_BENCH_SCALE (100) the size in percent of the 1.6 GB that the documentation quotes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

want=${1:-all}
rounds=${DAVIT_BENCH_ROUNDS:-3}
scale=${DAVIT_BENCH_SCALE:-100}

build_davit
start_servers

measures() { [ "$want" = all ] || [ "$want" = "$1" ]; }

if measures skewed; then . "$here/skewed.sh"; fi
if measures even; then . "$here/even.sh"; fi
if measures small; then . "$here/small.sh"; fi
if measures second; then . "$here/second.sh"; fi
if measures memory; then . "$here/memory.sh"; fi
