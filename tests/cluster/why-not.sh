#!/usr/bin/env bash
# Prints why this machine cannot run the test cluster, one reason per line; nothing when it can.
[ "$(uname -s)" = Linux ] || { echo "it needs Linux: nodes are namespaces of its kernel"; exit 0; }
[ "$(id -u)" -eq 0 ] || echo "it needs root: it makes network links, mounts and control groups (sudo make …)"
[ -e /dev/loop-control ] || echo "it needs loop devices (/dev/loop-control): volumes are file systems in files"
[ "$(uname -m)" = x86_64 ] || [ "$(uname -m)" = aarch64 ] || echo "it needs a processor of amd64 or arm64"
[ "$(id -u)" -ne 0 ] || unshare --mount --pid --fork --net true 2>/dev/null ||
  echo "it may not make namespaces here (unshare: a container without privileges?)"
if [ "$(id -u)" -eq 0 ]; then
  groups=$(find /sys/fs/cgroup -maxdepth 1 -type d -writable ! -name unified | sort | tail -n 1)
  # A child of any group will do: it is made and removed.
  probe=${groups:-/nowhere}/davit-probe-$$
  mkdir "$probe" 2>/dev/null && rmdir "$probe" || echo "it may not make control groups here (/sys/fs/cgroup is read-only?)"
  unshare --mount true 2>/dev/null && ! unshare --mount mount -t tmpfs tmpfs /run 2>/dev/null &&
    echo "it may not mount file systems here (a container without privileges?)"
  ! command -v ip >/dev/null || unshare --net ip link add nodes type bridge 2>/dev/null ||
    echo "it may not make network bridges here (the kernel's module for them is missing?)"
  ! command -v ip >/dev/null || unshare --net ip link add one type veth peer name two 2>/dev/null ||
    echo "it may not make network links here (the kernel's module veth is missing?)"
fi
exit 0
