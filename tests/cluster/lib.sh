# shellcheck shell=bash disable=SC2034,SC2154
# What the scripts of the test cluster share: where its things lie, its addresses, its control groups.
# Sourced with `cluster` set to the cluster's name.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$("$here/../servers/cache.sh")
# shellcheck source=tests/cluster/versions.sh
. "$here/versions.sh"
program=$cache/$kubernetes_folder/kubernetes
kubectl_program=$cache/$kubectl_folder/kubectl
dns_program=$cache/$dns_folder/dns
images=$cache/$images_folder
clusters=$cache/clusters
# The name becomes a part of paths that are removed.
[[ $cluster =~ ^[a-z0-9][a-z0-9-]{0,40}$ ]] || {
  echo "a cluster's name is made of small letters, digits and hyphens, not \"$cluster\"" >&2
  exit 2
}
# Everything of one cluster lies in `dir`; `lease` is held by those who use it and outlives it.
dir=$clusters/$cluster
lease=$clusters/$cluster.lease
nodes="1 2 3"

# Two clusters differ on the host in four things: this folder, the control groups davit-NAME, one link dvSLOT, and the
# range 198.18.SLOT.0/24 (set aside for tests by RFC 2544) on it. All else is inside namespaces of the kernel.
slot() { cat "$dir/slot"; }
address_of_host() { echo "198.18.$(slot).1"; }
address_of_control() { echo "198.18.$(slot).10"; }
address_of_node() { echo "198.18.$(slot).1$1"; }

say() { printf '   %s\n' "$*"; }

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

wait_for() { # SECONDS WHAT COMMAND…
  local seconds=$1 what=$2 start=$SECONDS
  shift 2
  until "$@"; do
    [ $((SECONDS - start)) -lt "$seconds" ] || fail "cluster $cluster: $what did not happen within $seconds s; see $dir/log"
    sleep 0.05
  done
}

# The hierarchies of control groups: one in version 2, several in version 1.
cgroup_roots() {
  if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
    echo /sys/fs/cgroup
  else
    find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d ! -name unified
  fi
}

make_cgroup() { # PATH
  local root parent controller
  for root in $(cgroup_roots); do
    mkdir -p "$root/$1"
    # Version 2: a group has the controllers that the one above passes down.
    parent=$(dirname "$root/$1")
    if [ -e "$parent/cgroup.subtree_control" ]; then
      tr ' ' '\n' <"$parent/cgroup.controllers" | while read -r controller; do
        echo "+$controller" >"$parent/cgroup.subtree_control" || true
      done
    fi
    # A set of processors is empty until it is filled, from the top down, and an empty one takes no process.
    if [ -e "$root/$1/cgroup.clone_children" ] && [ -e "$root/$1/cpuset.cpus" ]; then
      echo 1 >"$root/$1/cgroup.clone_children"
      [ -n "$(cat "$root/$1/cpuset.cpus")" ] || cat "$root/cpuset.cpus" >"$root/$1/cpuset.cpus"
      [ -n "$(cat "$root/$1/cpuset.mems")" ] || cat "$root/cpuset.mems" >"$root/$1/cpuset.mems"
    fi
  done
}

join_cgroup() { # PATH: the calling shell, and what it starts
  local root
  for root in $(cgroup_roots); do echo 0 >"$root/$1/cgroup.procs"; done
}

# Every process in a control group or below it, as numbers of the caller's process namespace.
processes_in() { # PATH
  local root
  for root in $(cgroup_roots); do
    [ ! -d "$root/$1" ] || find "$root/$1" -name cgroup.procs -exec cat {} + 2>/dev/null
  done | sort -un
}

is_empty_cgroup() { [ -z "$(processes_in "$1")" ]; }

remove_cgroup() { # PATH
  local root
  for root in $(cgroup_roots); do
    [ ! -d "$root/$1" ] || find "$root/$1" -depth -type d -exec rmdir {} \; 2>/dev/null
  done
  return 0
}

# What a cluster would have left behind on the host, one line each; nothing when it is gone.
left() {
  local pid root
  for pid in $(processes_in "davit-$cluster"); do echo "process $pid: $(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-80)"; done
  for root in $(cgroup_roots); do [ ! -d "$root/davit-$cluster" ] || echo "control group $root/davit-$cluster"; done
  awk -v dir="$dir/" 'index($2, dir) == 1 {print "mount " $2}' /proc/mounts
  losetup --list --noheadings --output NAME,BACK-FILE | awk -v dir="$dir/" 'index($2, dir) == 1 {print "loop device " $1}'
  ip -o link show | awk -v alias="davit-$cluster" '$0 ~ "alias " alias "( |$)" {print "link " $2}'
  [ ! -e "$dir" ] || echo "folder $dir"
}

no_loop_below() { ! losetup --list --noheadings --output BACK-FILE | grep -q "^$1/"; }

# Takes away whatever is left of the cluster once its process 1 is gone.
sweep() {
  local pid link
  for pid in $(processes_in "davit-$cluster"); do kill -9 "$pid" 2>/dev/null; done
  wait_for 240 "the end of its processes" is_empty_cgroup "davit-$cluster"
  remove_cgroup "davit-$cluster"
  for link in $(ip -o link show | awk -v alias="davit-$cluster" '$0 ~ "alias " alias "( |$)" {sub("@.*", "", $2); print $2}'); do
    ip link delete "$link" 2>/dev/null
  done
  wait_for 240 "the release of its volumes" no_loop_below "$dir"
  rm -rf --one-file-system "$dir"
}

# Runs a command for as long as the place lives: again when it ends, and not while the file hold/NAME is there.
supervise() { # NAME COMMAND…
  local name=$1
  shift
  while :; do
    while [ -e "$dir/hold/$name" ]; do sleep 0.1; done
    ("$@") >>"$dir/log/$name.log" 2>&1 || echo "ended with code $?" >>"$dir/log/$name.log"
    sleep 0.3
  done &
}
