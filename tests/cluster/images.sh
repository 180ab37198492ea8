#!/usr/bin/env bash
# Makes container images from files of this machine, without a registry and without a container engine.
#
#   images.sh base                    the images that every cluster has: pause, service, postgres; into the cache
#   images.sh davit PROGRAM FILE.tar  davit.test/davit:1 with a davit that was just built, and PostgreSQL's client tools
#
# They hold what is named here and the libraries it needs. Pods use them with `imagePullPolicy: Never`.
set -euo pipefail
cluster=none
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

postgres=/usr/lib/postgresql/15
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

begin() {
  root=$scratch/root
  rm -rf "$root"
  mkdir -p "$root"/{bin,dev,etc,proc,run,sys,tmp,var/tmp,usr/local/bin}
  chmod 1777 "$root/tmp" "$root/var/tmp"
  printf 'root:x:0:0:root:/:/bin/sh\npostgres:x:70:70::/tmp:/bin/sh\nnonroot:x:65532:65532::/tmp:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\npostgres:x:70:\nnonroot:x:65532:\n' >"$root/etc/group"
  printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
}

put() { # SOURCE [PATH-IN-THE-IMAGE]: the file, and the libraries that it needs
  local target=$root${2:-$1} library
  [ ! -e "$target" ] || return 0
  mkdir -p "$(dirname "$target")"
  cp --dereference --preserve=mode,timestamps "$1" "$target"
  for library in $(ldd "$1" 2>/dev/null | grep -oE '/[^ ]+' || true); do put "$library"; done
}

put_tree() { # FOLDER
  mkdir -p "$root$1"
  cp --recursive --dereference --preserve=mode,timestamps "$1/." "$root$1/"
}

shell_tools() {
  local tool
  put /bin/dash /bin/sh
  for tool in cat chmod chroot cp cut date dd df env false find head id kill ls mkdir mv nsenter rm sha256sum sleep sort \
    stat sync tail touch tr true wc grep sed; do
    put "$(command -v "$tool" | grep / || echo "/bin/$tool")" "/bin/$tool"
  done
}

finish() { # FILE NAME ENTRYPOINT-AS-JSON
  local layer=$scratch/layer.tar digest
  tar --create --file "$layer" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --directory "$root" .
  digest=$(sha256sum "$layer" | cut -d ' ' -f 1)
  cat >"$scratch/config.json" <<END
{"architecture": "$(dpkg --print-architecture)", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:$digest"]},
 "config": {"Entrypoint": $3, "Env": ["PATH=/usr/local/bin:$postgres/bin:/bin", "LANG=C.UTF-8", "HOME=/tmp"]},
 "history": [{"created_by": "tests/cluster/images.sh"}]}
END
  printf '[{"Config": "config.json", "RepoTags": ["%s"], "Layers": ["layer.tar"]}]' "$2" >"$scratch/manifest.json"
  tar --create --file "$1.part" --mtime=@0 --directory "$scratch" manifest.json config.json layer.tar
  mv "$1.part" "$1"
}

base() {
  [ ! -e "$images/done" ] || return 0
  say "making the images of the test cluster"
  mkdir -p "$images"
  begin
  put "$cache/$service_folder/service" /service
  finish "$images/pause.tar" davit.test/pause:1 '["/service", "pause"]'
  finish "$images/service.tar" davit.test/service:1 '["/service"]'

  begin
  shell_tools
  local file
  for file in "$postgres"/bin/*; do put "$file"; done
  for file in "$postgres"/lib/*.so; do
    # The just-in-time compiler is as large as all the rest.
    case $file in */llvmjit*) ;; *) put "$file" ;; esac
  done
  put_tree /usr/share/postgresql/15
  put_tree /usr/share/zoneinfo/Etc
  put /usr/share/zoneinfo/UTC
  [ ! -d /usr/lib/locale/C.utf8 ] || put_tree /usr/lib/locale/C.utf8
  install -m 755 "$here/run-postgres" "$root/usr/local/bin/run-postgres"
  finish "$images/postgres.tar" davit.test/postgres:15 '["/usr/local/bin/run-postgres"]'
  touch "$images/done"
}

davit() { # PROGRAM FILE
  local tool
  begin
  shell_tools
  put "$1" /usr/local/bin/davit
  strip "$root/usr/local/bin/davit"
  for tool in pg_dump pg_dumpall pg_restore psql pg_isready; do put "$postgres/bin/$tool"; done
  [ ! -e /etc/ssl/certs/ca-certificates.crt ] || put /etc/ssl/certs/ca-certificates.crt
  [ ! -d /usr/lib/locale/C.utf8 ] || put_tree /usr/lib/locale/C.utf8
  finish "$2" davit.test/davit:1 '["/usr/local/bin/davit"]'
}

case ${1:-} in
  base) base ;;
  davit) davit "$2" "$3" ;;
  *) fail "usage: images.sh base | davit PROGRAM FILE.tar" ;;
esac
