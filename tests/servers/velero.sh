#!/usr/bin/env bash
# Builds Velero and its AWS plugin, beside which snapshots of namespaces are measured and whose backups are imported, into the cache
# of test servers.
#
#   tests/servers/velero.sh
#
# Both are built from their published modules as they are, with the versions that their own module files name, but for one
# thing: these ask for a patch release of the Kubernetes libraries of which not every module can be had, so all of them are
# one patch release newer.
set -euo pipefail

velero=v1.18.3
plugin=v1.14.3
libraries_asked=v0.33.12
libraries_taken=v0.33.13
# The last number counts changes to how they are built.
folder=$("$(dirname "$0")/cache.sh")/velero-$velero-1

if [ -x "$folder/velero" ] && [ -x "$folder/plugins/velero-plugin-for-aws" ]; then exit 0; fi
command -v go >/dev/null || { echo "building Velero needs Go 1.26 or newer on the PATH" >&2; exit 1; }
printf '   building Velero %s and its AWS plugin %s (about 10 minutes of processor time, once)\n' "$velero" "$plugin"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

build() { # MODULE VERSION PROGRAM RESULT FLAGS
  local source library own=$scratch/$4
  source=$(cd "$scratch" && go mod download -json "github.com/vmware-tanzu/$1@$2" | sed -n 's/.*"Dir": "\(.*\)",*$/\1/p')
  [ -n "$source" ] || { echo "$1 $2 cannot be fetched" >&2; exit 1; }
  mkdir "$own"
  # The module's folder is read-only: what changes is a copy of its module file and of its sums.
  cp "$source/go.mod" "$source/go.sum" "$own/"
  chmod u+w "$own"/go.*
  for library in $(awk -v asked="$libraries_asked" '$1 ~ /^k8s\.io\// && $2 == asked {print $1}' "$source/go.mod"); do
    go mod edit -replace="$library=$library@$libraries_taken" "$own/go.mod"
  done
  (cd "$source" && CGO_ENABLED=0 go build -mod=mod -modfile="$own/go.mod" -trimpath -ldflags "-s -w $5" -o "$own/$4" "./$3") \
    2>"$own/log" || { cat "$own/log" >&2; exit 1; }
}

# A server opens a second port for metrics that no setting moves, on all addresses: without it, it listens on loopback only.
build velero "$velero" cmd/velero velero \
  "-X github.com/vmware-tanzu/velero/pkg/buildinfo.Version=$velero -X sigs.k8s.io/controller-runtime/pkg/metrics/server.DefaultBindAddress=0"
build velero-plugin-for-aws "$plugin" velero-plugin-for-aws velero-plugin-for-aws ""
mkdir -p "$folder/plugins"
mv "$scratch/velero/velero" "$folder/"
mv "$scratch/velero-plugin-for-aws/velero-plugin-for-aws" "$folder/plugins/"
