#!/usr/bin/env bash
# A real Kubernetes of three nodes on this machine, in namespaces of the kernel; see ARCHITECTURE.md, "The test cluster".
#
#   cluster.sh up NAME [--keep]        start it, or join it; without --keep it ends with the last holder of its lease
#   cluster.sh down NAME               take it down; fails if anything is left
#   cluster.sh shell NAME              a shell with kubectl and the addresses set
#   cluster.sh kubectl NAME ARGUMENTS  kubectl
#   cluster.sh node NAME N off|on      power failure of a node, proven; and its return
#   cluster.sh node NAME N reboot      the same in one: it comes back by itself, with another boot id
#   cluster.sh node NAME N cut|mend    take its network cable out; put it in again
#   cluster.sh kill NAME PLACE PART    kill -9 one program; PLACE is control or node-N; it starts again by itself
#   cluster.sh hold NAME PART          …and keep it from starting (PART as its log is named: apiserver, node-1-kubelet)
#   cluster.sh release NAME PART       let it start again
#   cluster.sh load NAME FILE.tar      import an image on every node
#   cluster.sh left NAME               what of it is on the host
set -euo pipefail
[ $# -ge 2 ] || { sed -n '4,15s/^# //p' "$0" >&2; exit 2; }
verb=$1 cluster=$2
shift 2
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

is_watched() {
  local pid
  pid=$(cat "$dir/watcher" 2>/dev/null) && grep -aq watcher.sh "/proc/$pid/cmdline" 2>/dev/null
}
is_settled() { [ -e "$dir/ready" ] || ! is_watched; }
has_ended() { ! grep -aq watcher.sh "/proc/$1/cmdline" 2>/dev/null; } # WATCHER
in_network() { nsenter --net="/proc/$(cat "$dir/init")/ns/net" "$@"; }

# Process 1 of a node as the host numbers it: the one with three numbers (host, cluster, node) of which the last is 1.
first_process() { # N
  local pid
  for pid in $(processes_in "davit-$cluster/node-$1/daemons"); do
    [ "$(awk '/^NSpid:/ {print NF, $NF}' "/proc/$pid/status" 2>/dev/null)" != "4 1" ] || echo "$pid"
  done
}

up() {
  local start=$EPOCHREALTIME reasons descriptor mode=leased
  reasons=$("$here/why-not.sh")
  [ -z "$reasons" ] || fail "the test cluster cannot run here:"$'\n'"$reasons"
  [ -e "$images/done" ] || fail "the test cluster is not installed: run tests/cluster/install.sh"
  [ "${1:-}" != --keep ] || mode=kept
  mkdir -p "$clusters"
  exec 9>>"$clusters/$cluster.start"
  flock 9
  if ! is_watched || [ ! -e "$dir/ready" ]; then
    [ ! -e "$dir" ] || sweep
    rm -f "$clusters/$cluster.failed"
    mkdir -p "$dir"/{log,hold,bin,shell}
    cp "$kubectl_program" "$dir/bin/kubectl"
    ln -s "$program" "$dir/bin/kubernetes"
    # For people the real one: the other has a server do it, which knows neither their KUBECONFIG nor their folder.
    ln -s "$program" "$dir/shell/kubectl"
    touch "$lease"
    # The cluster must not hold what its starter has open: locks are among that.
    (
      for descriptor in /proc/self/fd/*; do
        descriptor=${descriptor##*/}
        [ "$descriptor" -le 2 ] || eval "exec $descriptor>&-"
      done
      exec setsid "$here/watcher.sh" "$cluster" "$mode" </dev/null >"$dir/log/watcher.log" 2>&1
    ) &
    wait_for 60 "a watcher" is_watched
    wait_for 900 "its start" is_settled
    [ -e "$dir/ready" ] || fail "cluster $cluster did not start:"$'\n'"$(head -n 12 "$clusters/$cluster.failed" 2>/dev/null)"$'\n'"more in $clusters/$cluster.failed"
  fi
  awk -v start="$start" -v end="$EPOCHREALTIME" -v name="$cluster" \
    'BEGIN {printf "   cluster %s: three nodes ready after %.1f s\n", name, end - start}'
}

down() {
  local rest watcher
  if is_watched; then
    # Its number is in a file of the folder that it removes: that the file is gone does not say that all is.
    watcher=$(cat "$dir/watcher")
    kill -9 "$(cat "$dir/init")" 2>/dev/null || true
    wait_for 300 "its end" has_ended "$watcher"
  elif [ -e "$dir" ]; then
    sweep
  fi
  rest=$(left)
  [ -z "$rest" ] || fail "cluster $cluster is down, and this is left:"$'\n'"$rest"
  say "cluster $cluster is down; nothing of it is left"
}

settings() {
  printf 'export KUBECONFIG=%s PATH=%s\n' "$dir/kubeconfig" "$dir/shell:$PATH"
  printf 'export AWS_ENDPOINT_URL_S3=http://%s:7070 AWS_REGION=us-east-1\n' "$(address_of_control)"
  printf 'export AWS_ACCESS_KEY_ID=davit-test AWS_SECRET_ACCESS_KEY=davit-test-secret\n'
}

shell() {
  is_watched || fail "cluster $cluster is not up: make cluster-up"
  say "kubectl reaches cluster $cluster; exit ends the shell, not the cluster"
  eval "$(settings)"
  PS1="($cluster) \w \$ " exec bash --norc -i
}

node() { # N off|on|reboot|cut|mend
  local n=$1 first
  first=$(first_process "$n")
  case $2 in
    off)
      [ -n "$first" ] || fail "node-$n is off already"
      touch "$dir/hold/node-$n"
      rm -f "$dir/node-$n/images"
      in_network ip link set "v$n" down
      # What its volumes had not flushed is lost, as it would be.
      nsenter --target "$first" --mount "$program" power-cut /var/lib/volumes
      kill -9 "$first"
      wait_for 240 "the end of all that ran on node-$n" is_empty_cgroup "davit-$cluster/node-$n"
      wait_for 240 "the release of the disk of node-$n" no_loop_below "$dir/node-$n"
      remove_cgroup "davit-$cluster/node-$n"
      say "node-$n is off: no process of it is left, its disk is free, its link is down"
      ;;
    on)
      rm -f "$dir/hold/node-$n"
      wait_for 240 "the start of node-$n" test -e "$dir/node-$n/images"
      ;;
    reboot)
      node "$n" off
      rm -f "$dir/hold/node-$n"
      ;;
    cut) in_network ip link set "v$n" down ;;
    mend) in_network ip link set "v$n" up ;;
    *) fail "a node can be switched off and on, rebooted, cut and mended" ;;
  esac
}

kill_part() { # PLACE PART
  local pid found=
  local place=$1
  [ "$place" = control ] || place=$place/daemons
  for pid in $(processes_in "davit-$cluster/$place"); do
    if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qE "^([^ ]*/)?(kubernetes )?$2( |\$)"; then
      kill -9 "$pid"
      found=1
    fi
  done
  [ -n "$found" ] || fail "no $2 runs in $1 of cluster $cluster"
}

load() { # FILE
  local n
  for n in $nodes; do
    nsenter --target "$(first_process "$n")" --mount ctr --namespace k8s.io images import "$1" >/dev/null
  done
}

case $verb in
  up) up "$@" ;;
  down) down ;;
  shell) shell ;;
  settings) settings ;;
  kubectl) exec "$dir/bin/kubectl" --kubeconfig "$dir/kubeconfig" "$@" ;;
  node) node "$@" ;;
  kill) kill_part "$@" ;;
  hold) touch "$dir/hold/$1" ;;
  release) rm -f "$dir/hold/$1" ;;
  load) load "$@" ;;
  left) left ;;
  *) fail "cluster.sh knows no verb $verb" ;;
esac
