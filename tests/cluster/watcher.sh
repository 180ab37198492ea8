#!/usr/bin/env bash
# Owns one cluster: starts it in namespaces of its own, and takes it down when nobody uses it any more.
#
#   watcher.sh NAME leased    until the last process that holds a shared lock on the lease is gone, killed ones included
#   watcher.sh NAME kept      until `cluster.sh down`
#
# The kernel helps: killing process 1 of a process namespace ends everything in it, containers included, and mounts and
# links go with their namespaces. Should this script itself be killed, the signal on parent death does the same, and
# the next `cluster.sh up` or `down` sweeps the folder.
set -uo pipefail
cluster=$1 mode=$2
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

echo $$ >"$dir/watcher"
setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount --mount-proc --net --uts -- \
  bash "$here/control.sh" "$cluster" >>"$dir/log/control.log" 2>&1 &
outer=$!

has_child() { pgrep -P "$outer" >/dev/null; }

connect() {
  local candidate start init
  wait_for 120 "its first process" has_child
  init=$(pgrep -P "$outer")
  # The link's name is the claim on a range of addresses: a second link of that name cannot be made.
  start=$(printf %s "$cluster" | cksum | cut -d ' ' -f 1)
  for candidate in $(seq "$start" $((start + 249))); do
    candidate=$((candidate % 250 + 1))
    [ -z "$(ip route show "198.18.$candidate.0/24")" ] || continue
    ip link add "dv$candidate" type veth peer name uplink netns "$init" 2>/dev/null || continue
    ip link set "dv$candidate" alias "davit-$cluster" up
    ip addr add "198.18.$candidate.1/24" dev "dv$candidate"
    echo "$init" >"$dir/init"
    echo "$candidate" >"$dir/slot"
    return
  done
  fail "every range from 198.18.1.0 to 198.18.250.0 is taken"
}

if (connect); then
  if [ "$mode" = leased ]; then
    exec 8>>"$lease"
    # Granted when no user is left; the lock stays with descriptor 8, so that a new user waits until all is swept.
    flock --exclusive 8 &
    waiter=$!
    wait -n "$outer" "$waiter"
    kill "$waiter" 2>/dev/null
  else
    wait "$outer"
  fi
fi
[ -e "$dir/ready" ] || tail --lines 20 "$dir"/log/{control,watcher}.log "$dir"/log/*.log >"$clusters/$cluster.failed" 2>/dev/null
kill -9 "$outer" 2>/dev/null
sweep
