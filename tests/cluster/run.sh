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

# Two programs side by side: what harms nodes waits for the others by a lock of its own.
threads=${DAVIT_TEST_THREADS:-2}
programs() { for file in "$here"/../cluster_*.rs; do basename "$file" .rs; done; }
if [ "${DAVIT_SOAK:-}" = 1 ]; then
  programs | "$here/../lanes.sh" 1 -- --ignored --test-threads="$threads" soak
else
  programs | "$here/../lanes.sh" 2 -- --include-ignored --test-threads="$threads" --skip soak
fi
