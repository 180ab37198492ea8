#!/usr/bin/env bash
# Every test, the ignored (live) ones included. The soak tests stay out unless DAVIT_SOAK=1, which runs only them.
set -euo pipefail

cache=$("$(dirname "$0")/cache.sh")
export DAVIT_TEST_CACHE=$cache
export DAVIT_TEST_VERSITYGW
DAVIT_TEST_VERSITYGW=$(find "$cache" -maxdepth 2 -type f -name versitygw | head -n 1)

# Live tests start servers of their own: more than a few at once only slow each other down.
threads=${DAVIT_TEST_THREADS:-3}

if [ "${DAVIT_SOAK:-}" = 1 ]; then
  cargo test --locked --no-fail-fast -- --ignored --test-threads="$threads" soak
else
  cargo test --locked --no-fail-fast -- --include-ignored --test-threads="$threads" --skip soak
fi
