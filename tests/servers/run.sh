#!/usr/bin/env bash
# Every test, the ignored (live) ones included, but those on the cluster (tests/cluster/run.sh). The soak tests stay out unless DAVIT_SOAK=1, which runs only them.
set -euo pipefail
here=$(dirname "$0")

cache=$("$here/cache.sh")
export DAVIT_TEST_CACHE=$cache
export DAVIT_TEST_VERSITYGW
DAVIT_TEST_VERSITYGW=$(find "$cache" -maxdepth 2 -type f -name versitygw | head -n 1)

# Live tests start servers of their own: more than a few at once only slow each other down.
threads=${DAVIT_TEST_THREADS:-3}

# The longest come first, so that none is left running alone at the end.
first=(false_success restore_options verify_runs restore_zoo chaos_namespace)
# These measure how long something was gone: nothing that works hard runs beside them. They mostly wait, so three wait at a time.
measuring=()
# These work hard, and what they measure is nothing but an order.
working=(chaos_crash chaos_database)
others=(--lib --doc)
for file in tests/*.rs; do
  name=$(basename "$file" .rs)
  case $name in
    cluster_*) ;;
    chaos_network | cli_chaos | cli_demo | drill_* | observer*) measuring+=("$name") ;;
    *) [[ " ${first[*]} ${working[*]} " == *" $name "* ]] || others+=("$name") ;;
  esac
done

if [ "${DAVIT_SOAK:-}" = 1 ]; then
  printf '%s\n' "${first[@]}" "${others[@]}" "${working[@]}" "${measuring[@]}" | "$here/../lanes.sh" 1 -- --ignored --test-threads="$threads" soak
else
  code=0
  arguments=(--include-ignored --test-threads="$threads" --skip soak)
  printf '%s\n' "${first[@]}" "${others[@]}" | "$here/../lanes.sh" 2 -- "${arguments[@]}" || code=$?
  printf '%s\n' "${working[@]}" | "$here/../lanes.sh" 2 -- "${arguments[@]}" || code=$?
  printf '%s\n' "${measuring[@]}" | "$here/../lanes.sh" 3 -- "${arguments[@]}" || code=$?
  exit "$code"
fi
