#!/usr/bin/env bash
# Namespaces beside Velero: what docs/benchmarks.md quotes. Ten thousand objects saved and restored by both in turns. Prints
# how busy the machine was, because figures of a busy one mean little. tests/servers/velero.sh builds Velero.
#
#   benches/velero.sh [SAVES [RESTORES]]      (3 and 1; a restore of Velero's takes ten minutes, 0 leaves it out)
#
# DAVIT_BENCH_OBJECTS (10000) says how many objects.
set -euo pipefail
cd "$(dirname "$0")/.."
build=(env CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo bench --profile dev --locked --bench velero)
"${build[@]}" --no-run
echo "== $(nproc) cores, load before: $(cut -d ' ' -f 1-3 /proc/loadavg)"
"${build[@]}" --quiet -- "${DAVIT_BENCH_OBJECTS:-10000}" "${1:-3}" "${2:-1}"
echo "== load after: $(cut -d ' ' -f 1-3 /proc/loadavg)"
