#!/usr/bin/env bash
# lanes.sh LANES -- ARGUMENT… : runs the test programs named on stdin (`--lib`, `--doc`, or the name of a file in tests/), so
# many at a time, each with the arguments after `--`. Tests mostly wait for servers; one program after another leaves the
# processors idle. A line for each that passes; all that one said which fails, and their names at the end.
set -uo pipefail
lanes=$1
shift 2

said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
export said

one() {
  local name=$1 started=$SECONDS target verdict
  shift
  case $name in --*) target=("$name") ;; *) target=(--test "$name") ;; esac
  [ "$name" != --doc ] || set --
  if cargo test --locked --quiet "${target[@]}" -- "$@" >"$said/$name" 2>&1; then verdict=ok; else verdict=FAILED; fi
  local seconds=$((SECONDS - started))
  exec 8>"$said/.print"
  flock 8
  [ "$verdict" = ok ] || { cat -- "$said/$name"; echo "$name" >>"$said/.failed"; }
  awk -v name="$name" -v seconds="$seconds" -v verdict="$verdict" '
    /^test result:/ {passed += $4; failed += $6; ignored += $8; left += $12}
    END {printf "   %4d s  %-24s %s: %d passed%s%s%s\n", seconds, name, verdict, passed, failed ? ", " failed " failed" : "",
      ignored ? ", " ignored " ignored" : "", left ? ", " left " only in soak" : ""}' "$said/$name"
  [ "$verdict" = ok ]
}
export -f one

xargs -P "$lanes" -I '{}' bash -c 'one "$@"' one '{}' "$@" || {
  printf '   FAILED: %s\n' "$(paste -sd ' ' "$said/.failed")"
  exit 1
}
