#!/usr/bin/env bash
# The tests on a real Kubernetes (tests/cluster_*.rs), on two clusters: one that they share, and one whose nodes some of them
# harm. This script holds their leases, so that they stay up from one test program to the next. The soak tests stay out unless
# DAVIT_SOAK=1, which runs only them.
set -euo pipefail
here=$(dirname "$0")
DAVIT_TEST_CACHE=$("$here/../servers/cache.sh")
DAVIT_TEST_CLUSTER=$("$here/name.sh")
export DAVIT_TEST_CACHE DAVIT_TEST_CLUSTER
harmed=$DAVIT_TEST_CLUSTER-nodes

mkdir -p "$DAVIT_TEST_CACHE/clusters"
exec 8>>"$DAVIT_TEST_CACHE/clusters/$harmed.lease" 9>>"$DAVIT_TEST_CACHE/clusters/$DAVIT_TEST_CLUSTER.lease"
flock --shared 8
flock --shared 9
"$here/cluster.sh" up "$DAVIT_TEST_CLUSTER"

threads=${DAVIT_TEST_THREADS:-3}
programs() { for file in "$here"/../cluster_*.rs; do basename "$file" .rs; done; }
if [ "${DAVIT_SOAK:-}" = 1 ]; then
  programs | "$here/../lanes.sh" 1 -- --ignored --test-threads="${DAVIT_TEST_THREADS:-2}" soak
  exit
fi

# What harms nodes takes its turns on a cluster of its own and mostly waits; two other programs work beside it. What measures
# a service comes last: beside all of that a service is never steady.
harming=(whole:: a_lost_node)
measuring=(drills:: a_node_is_drained how_long_it_took_is_measured)
apart=()
for word in "${measuring[@]}"; do apart+=(--skip "$word"); done
others=("${apart[@]}")
for word in "${harming[@]}"; do others+=(--skip "$word"); done
code=0
export DAVIT_LEFT="in soak or in another lane"
(
  "$here/cluster.sh" up "$harmed"
  printf '%s\n' cluster_chaos cluster_smoke |
    "$here/../lanes.sh" 1 -- --include-ignored --test-threads=1 --skip soak "${apart[@]}" "${harming[@]}"
) &
programs | "$here/../lanes.sh" 2 -- --include-ignored --test-threads="$threads" --skip soak "${others[@]}" || code=$?
wait $! || code=$?
printf '%s\n' cluster_chaos cluster_drill_namespace |
  "$here/../lanes.sh" 1 -- --include-ignored --test-threads=3 --skip soak "${measuring[@]}" || code=$?
exit "$code"
