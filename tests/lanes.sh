#!/usr/bin/env bash
# lanes.sh LANES -- ARGUMENT… : runs the test programs named on stdin (`--lib`, `--doc`, or the name of a file in tests/), so
# many at a time, each with the arguments after `--`. Tests mostly wait for servers; one program after another leaves the
# processors idle. Prints one line for each, everything that a failed one said, and at the end the names of those that failed.
# One that hangs is stopped after DAVIT_TEST_PATIENCE seconds (no soak is), and its last words name the test.
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
  local patience=${DAVIT_TEST_PATIENCE:-1200}
  [ "${DAVIT_SOAK:-}" != 1 ] || patience=0
  local TIMEFORMAT="%0U %0S"
  {
    time if timeout --kill-after=10 "$patience" cargo test --locked --quiet "${target[@]}" -- "$@" >"$said/$name" 2>&1; then
      verdict=ok
    else
      verdict=FAILED
    fi
  } 2>"$said/$name.time"
  local seconds=$((SECONDS - started)) worked
  worked=$(awk '{print $1 + $2}' "$said/$name.time")
  exec 8>"$said/.print"
  flock 8
  [ "$verdict" = ok ] || { cat -- "$said/$name"; echo "$name" >>"$said/.failed"; }
  # What a filter leaves out is what the other of the two runs, with and without soak, is for.
  local left="only in soak"
  case " $* " in *" --skip soak "*) ;; *) left="not in soak" ;; esac
  left=${DAVIT_LEFT:-$left}
  awk -v name="$name" -v seconds="$seconds" -v worked="$worked" -v verdict="$verdict" -v words="$left" '
    /^test result:/ {passed += $4; failed += $6; ignored += $8; left += $12}
    END {printf "   %4d s (%3d of a processor)  %-24s %s: %d passed%s%s%s\n", seconds, worked, name, verdict, passed, failed ? ", " failed " failed" : "",
      ignored ? ", " ignored " ignored" : "", left ? ", " left " " words : ""}' "$said/$name"
  [ "$verdict" = ok ]
}
export -f one

xargs -P "$lanes" -I '{}' bash -c 'one "$@"' one '{}' "$@" || {
  printf '   FAILED: %s\n' "$(paste -sd ' ' "$said/.failed")"
  exit 1
}
