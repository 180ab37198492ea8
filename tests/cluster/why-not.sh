#!/usr/bin/env bash
# Prints why this machine cannot run the test cluster, one reason per line; nothing when it can.
[ "$(uname -s)" = Linux ] || { echo "it needs Linux: nodes are namespaces of its kernel"; exit 0; }
[ "$(id -u)" -eq 0 ] || echo "it needs root: it makes network links, mounts and control groups (sudo make …)"
[ -e /dev/loop-control ] || echo "it needs loop devices (/dev/loop-control): volumes are file systems in files"
[ "$(uname -m)" = x86_64 ] || [ "$(uname -m)" = aarch64 ] || echo "it needs a processor of amd64 or arm64"
[ "$(id -u)" -ne 0 ] || unshare --mount --pid --fork --net true 2>/dev/null ||
  echo "it may not make namespaces here (unshare: a container without privileges?)"
exit 0
