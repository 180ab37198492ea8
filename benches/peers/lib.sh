# What every peer measurement needs: servers, a stopwatch, a table. Sourced by run.sh.

work=${DAVIT_BENCH_DIR:-}
[ -n "$work" ] || work=$(mktemp -d "${TMPDIR:-/tmp}/davit-peers-XXXXXX")
mkdir -p "$work"
pg_bin=/usr/lib/postgresql/15/bin
pg_pid=""
s3_pid=""

finish() {
  [ -z "$s3_pid" ] || kill "$s3_pid" 2>/dev/null || true
  [ -z "$pg_pid" ] || { kill -INT "$pg_pid" 2>/dev/null || true; wait "$pg_pid" 2>/dev/null || true; }
  [ -n "${DAVIT_BENCH_DIR:-}" ] || rm -rf "$work"
}
trap finish EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Our own code optimised as in a release, on the dependencies that tests and demo use: these are optimised in any case.
build_davit() {
  davit=$work/davit
  [ -z "${DAVIT_BENCH_BUILT:-}" ] || return 0
  (cd "$here/../.." && CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo build --bin davit --bench million_chunks --bench many_points --locked --quiet)
  cp "${CARGO_TARGET_DIR:-$here/../../target}/debug/davit" "$davit"
  # The newest build of each: its name ends in a hash.
  local bench
  for bench in million_chunks many_points; do
    cp "$(find "${CARGO_TARGET_DIR:-$here/../../target}/debug/deps" -name "$bench-*" -type f -perm -u+x -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)" "$work/$bench"
  done
}

start_servers() {
  local as=() cache
  [ "$(id -u)" -ne 0 ] || as=(setpriv --reuid=postgres --regid=postgres --init-groups)
  chmod 711 "$work"
  mkdir -p "$work/pg"
  [ "$(id -u)" -ne 0 ] || chown postgres "$work/pg"
  pg_port=$(free_port)
  [ -d "$work/pg/data" ] ||
    "${as[@]}" "$pg_bin/initdb" -D "$work/pg/data" -U postgres -E UTF8 --locale=C.UTF-8 --auth=trust --no-sync >/dev/null
  (cd "$work/pg" && exec "${as[@]}" "$pg_bin/postgres" -D "$work/pg/data" -c port="$pg_port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories="$work/pg" -c shared_buffers=1GB -c max_wal_size=8GB -c checkpoint_timeout=30min \
    -c max_connections=60) >"$work/pg.log" 2>&1 &
  pg_pid=$!
  until "$pg_bin/pg_isready" -q -h 127.0.0.1 -p "$pg_port"; do
    kill -0 "$pg_pid" || { cat "$work/pg.log" >&2; exit 1; }
    sleep 0.1
  done
  export PGHOST=127.0.0.1 PGPORT=$pg_port PGUSER=postgres

  cache=$("$here/../../tests/servers/cache.sh")
  export AWS_ACCESS_KEY_ID=bench AWS_SECRET_ACCESS_KEY=bench-secret AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
  local s3_port
  s3_port=$(free_port)
  export AWS_ENDPOINT_URL_S3=http://127.0.0.1:$s3_port
  mkdir -p "$work/s3/data/bench" "$work/s3/versions"
  ROOT_ACCESS_KEY=bench ROOT_SECRET_KEY=bench-secret "$cache"/versitygw-*/versitygw --port "127.0.0.1:$s3_port" \
    --quiet posix "$work/s3/data" >"$work/s3.log" 2>&1 &
  s3_pid=$!
  until (exec 3<>"/dev/tcp/127.0.0.1/$s3_port") 2>/dev/null; do sleep 0.1; done
}

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$1" -c "$2"; }

has_database() { [ "$(sql postgres "SELECT count(*) FROM pg_database WHERE datname = '$1'")" = 1 ]; }

# title NAME TEXT: begins a piece. Its figures are kept in a file of its own, which grows from run to run in a directory
# that is kept; how busy the machine is with other things is said, because then the figures are worth nothing.
title() {
  results=$work/results-$1
  [ -n "${DAVIT_BENCH_DIR:-}" ] || : >"$results"
  printf '\n# %s\n%s, %s cores, %s MiB of memory, load %s\n' "$2" "$(date -u +%Y-%m-%dT%H:%MZ)" "$(nproc)" \
    "$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)" "$(cut -d' ' -f1-3 /proc/loadavg)"
}

# A fresh repository in the bucket, with its keys; sets $repository and $keys.
fresh_repository() {
  repository=s3://bench/$1
  keys=$work/keys-$1
  rm -rf "$work/s3/data/bench/$1" "$keys"
  DAVIT_REPOSITORY=$repository DAVIT_KEYS=$keys "$davit" init >/dev/null 2>"$work/init.log" || { cat "$work/init.log" >&2; exit 1; }
  export DAVIT_REPOSITORY=$repository DAVIT_KEYS=$keys
}

# Processor time that the two servers have used so far, in hundredths of a second: what they and the sessions that ended
# took. Unlike wall time it says something even where the machine is busy with other things.
server_ticks() {
  local pid sum=0
  for pid in $pg_pid $s3_pid; do
    sum=$((sum + $(sed 's/.*) //' "/proc/$pid/stat" | awk '{print $12 + $13 + $14 + $15}')))
  done
  echo "$sum"
}

# once LABEL COMMAND…: runs it and notes wall seconds, CPU seconds and peak kilobytes of its largest process, the CPU
# hundredths of the servers meanwhile, and how many blocks of 512 bytes it and its children wrote to the disk.
once() {
  local label=$1
  shift
  case " ${DAVIT_BENCH_ONLY:-$label} " in *" $label "*) ;; *) return 0 ;; esac
  local before
  before=$(server_ticks)
  if ! /usr/bin/time -f '%e %U %S %M %O' -o "$work/time" "$@" >"$work/out" 2>"$work/err"; then
    printf 'FAILED %s: %s\n' "$label" "$*" >&2
    tail -n 5 "$work/err" >&2
    exit 1
  fi
  # A session counts when the server has seen it end.
  until [ "$(sql postgres "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")" = 1 ]; do sleep 0.2; done
  sleep 1
  tail -n 1 "$work/time" | while read -r wall user system peak blocks; do
    printf '%s %s %s %s %s %s %s\n' "$label" "$wall" "$user" "$system" "$peak" $(($(server_ticks) - before)) "$blocks" >>"$results"
  done
}

median() { awk -v label="$1" -v column="$2" '$1 == label {print $column}' "$results" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

# table BASE LABEL…: medians, and each against BASE.
table() {
  local base=$1 label base_seconds
  shift
  base_seconds=$(median "$base" 2)
  printf '%-26s %8s %8s %12s %9s %9s %9s  %s\n' contender seconds 'CPU s' 'servers CPU' 'peak MiB' 'disk KiB' "of $base" 'each round'
  for label in "$@"; do
    grep -q "^$label " "$results" || continue
    awk -v l="$label" -v s="$(median "$label" 2)" -v u="$(median "$label" 3)" -v k="$(median "$label" 4)" -v b="$base_seconds" \
      -v m="$(median "$label" 5)" -v t="$(median "$label" 6)" -v w="$(median "$label" 7)" -v a="$(awk -v l="$label" '$1 == l {printf "%s ", $2}' "$results")" \
      'BEGIN {printf "%-26s %8.1f %8.1f %12.1f %9.0f %9.0f %8.2fx  %s\n", l, s, u + k, t / 100, m / 1024, w / 2, (b > 0 ? s / b : 0), a}'
  done
}

bytes_of() { du -sb "$1" | cut -f1; }
