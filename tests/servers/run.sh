#!/usr/bin/env bash
# Every test, the ignored (live) ones included, but those on the cluster (tests/cluster/run.sh). The soak tests stay out unless DAVIT_SOAK=1, which runs only them.
set -euo pipefail

cache=$("$(dirname "$0")/cache.sh")
export DAVIT_TEST_CACHE=$cache
export DAVIT_TEST_VERSITYGW
DAVIT_TEST_VERSITYGW=$(find "$cache" -maxdepth 2 -type f -name versitygw | head -n 1)

# Live tests start servers of their own: more than a few at once only slow each other down.
threads=${DAVIT_TEST_THREADS:-3}

targets=(--lib --bins)
for file in tests/*.rs; do
  name=$(basename "$file" .rs)
  case $name in cluster_*) ;; *) targets+=(--test "$name") ;; esac
done

if [ "${DAVIT_SOAK:-}" = 1 ]; then
  cargo test --locked --no-fail-fast "${targets[@]}" -- --ignored --test-threads="$threads" soak
else
  code=0
  cargo test --locked --no-fail-fast "${targets[@]}" -- --include-ignored --test-threads="$threads" --skip soak || code=$?
  cargo test --locked --no-fail-fast --doc || code=$?
  exit "$code"
fi
