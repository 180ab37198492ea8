#!/usr/bin/env bash
# The tests on a real Kubernetes (tests/cluster_*.rs), all on one cluster: this script holds its lease, so that it stays
# up from one test program to the next. The soak tests stay out unless DAVIT_SOAK=1, which runs only them.
set -euo pipefail
here=$(dirname "$0")
DAVIT_TEST_CACHE=$("$here/../servers/cache.sh")
DAVIT_TEST_CLUSTER=$("$here/name.sh")
export DAVIT_TEST_CACHE DAVIT_TEST_CLUSTER

mkdir -p "$DAVIT_TEST_CACHE/clusters"
exec 9>>"$DAVIT_TEST_CACHE/clusters/$DAVIT_TEST_CLUSTER.lease"
flock --shared 9
"$here/cluster.sh" up "$DAVIT_TEST_CLUSTER"

threads=${DAVIT_TEST_THREADS:-3}
if [ "${DAVIT_SOAK:-}" = 1 ]; then
  cargo test --locked --no-fail-fast --test 'cluster_*' -- --ignored --test-threads="$threads" soak
else
  cargo test --locked --no-fail-fast --test 'cluster_*' -- --include-ignored --test-threads="$threads" --skip soak
fi
