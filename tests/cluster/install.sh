#!/usr/bin/env bash
# Installs what the test cluster is made of: packages from Debian, programs built from Go modules, images made from
# files of this machine. Everything built is cached by version, outside the repository.
#
# Where the cluster cannot run (see why-not.sh) this says so and does nothing.
set -euo pipefail
cluster=none
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

reasons=$("$here/why-not.sh")
if [ -n "$reasons" ]; then
  printf '   the cluster tests will not run here:\n%s\n' "$reasons"
  exit 0
fi

# Packages are asked for by what they bring: a machine may have the same from elsewhere (Docker's containerd, for one).
packages() { # FILE-OR-COMMAND=PACKAGE…
  local pair missing=""
  for pair in "$@"; do
    command -v "${pair%=*}" >/dev/null || missing="$missing ${pair#*=}"
  done
  [ -n "$missing" ] || return 0
  say "installing Debian packages:$missing"
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

build() { # FOLDER SOURCE NAME ABOUT FLAGS…
  local folder=$cache/$1 source=$2 name=$3 about=$4 scratch
  shift 4
  [ ! -x "$folder/$name" ] || return 0
  command -v go >/dev/null || fail "building $name needs Go 1.25 or newer on the PATH"
  say "building $about, once"
  scratch=$(mktemp -d)
  (cd "$here/$source" && CGO_ENABLED=0 go build -trimpath -mod=readonly -o "$scratch/$name" "$@" . 2>"$scratch/log") || {
    cat "$scratch/log" >&2
    exit 1
  }
  mkdir -p "$folder"
  mv "$scratch/$name" "$folder/"
  rm -rf "$scratch"
}

packages containerd=containerd runc=runc /usr/lib/cni/bridge=containernetworking-plugins iptables=iptables ip=iproute2 \
  setpriv=util-linux pgrep=procps mkfs.ext4=e2fsprogs openssl=openssl strip=binutils \
  /usr/lib/postgresql/15/bin/postgres=postgresql-15 /usr/lib/postgresql/15/bin/pg_dump=postgresql-client-15
version=k8s.io/component-base/version
build "$kubernetes_folder" kubernetes kubernetes "Kubernetes $kubernetes_version (about 5 minutes of processor time)" \
  -tags providerless -ldflags "-s -w -X $version.gitVersion=v$kubernetes_version \
  -X $version.gitMajor=1 -X $version.gitMinor=$(echo "$kubernetes_version" | cut -d . -f 2)"
build "$kubectl_folder" kubectl kubectl "the kubectl that asks a server" -ldflags "-s -w"
build "$dns_folder" dns dns "the name server CoreDNS (about a minute)" -ldflags "-s -w"
build "$service_folder" service service "the small HTTP service" -ldflags "-s -w"
"$here/images.sh" base
