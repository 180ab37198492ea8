#!/usr/bin/env bash
# Namespaces: what docs/benchmarks.md quotes. Ten thousand objects saved, saved again and restored, beside plain requests;
# a hundred thousand saved, for their memory. Prints how busy the machine was, because figures of a busy one mean little.
#
#   benches/namespace.sh [ROUNDS]      (3); DAVIT_BENCH_OBJECTS="10000 100000" says which sizes
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
build=(env CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo bench --profile dev --locked --bench namespace)
"${build[@]}" --no-run
for objects in ${DAVIT_BENCH_OBJECTS:-10000 100000}; do
  echo "== $objects objects, load before: $(cut -d ' ' -f 1-3 /proc/loadavg)"
  [ "$objects" -le 20000 ] && turns=$rounds || turns=1
  "${build[@]}" --quiet -- "$objects" "$turns"
  echo "== load after: $(cut -d ' ' -f 1-3 /proc/loadavg)"
done
