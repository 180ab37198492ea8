#!/usr/bin/env bash
# Process 1 of a node: node.sh NAME N, called by control.sh in fresh namespaces, with the network of the control plane
# at descriptor 7. When it is killed, everything that ran on the node is gone, as when the power fails; its disk stays.
set -euo pipefail
cluster=$1 n=$2
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

name=node-$n
disk=$dir/$name
address=$(address_of_node "$n")
control=$(address_of_control)

# The node's own file systems: what programs expect at fixed places is on its disk, what a reboot forgets is in memory.
hostname "$name"
mkdir -p "$disk"/lib/{kubelet,volumes,cni/net.d,containerd} "$disk/log"
mount -t tmpfs tmpfs /run
# The kernel's boot id is that of this machine, and outlives the reboot of a node.
cat /proc/sys/kernel/random/uuid >/run/boot-id
mount --bind /run/boot-id /proc/sys/kernel/random/boot_id
mount --bind "$disk/lib" /var/lib
mount --bind "$disk/log" /var/log
for image in /var/lib/volumes/*.img; do
  [ ! -e "$image" ] || mount -o loop "$image" "${image%.img}"
done

# Its network: one cable to the control plane, and the pods behind it.
outside() { nsenter --net=/proc/self/fd/7 "$@"; }
outside ip link delete "v$n" 2>/dev/null || true
outside ip link add "v$n" type veth peer name eth0 netns 1
outside ip link set "v$n" master nodes up
exec 7<&-
ip link set lo up
ip link set eth0 up
ip addr add "$address/24" dev eth0
ip route add default via "$control"
for other in $nodes; do
  [ "$other" = "$n" ] || ip route add "10.244.$other.0/24" via "$(address_of_node "$other")"
done
sysctl -qw net.ipv4.ip_forward=1
# Servers of a test listen on the host, which knows no way back to pods.
iptables -t nat -A POSTROUTING -s 10.244.0.0/16 -d "$(address_of_host)" -j MASQUERADE

# Two settings are for machines that are guests themselves: without them runc cannot start a pod there.
cat >"$disk/containerd.toml" <<END
version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "davit.test/pause:1"
  disable_hugetlb_controller = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/var/lib/cni/net.d"
END
cat >/var/lib/cni/net.d/10-pods.conflist <<END
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-addresses",
            "ranges": [[{"subnet": "10.244.$n.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
END
supervise "$name-containerd" containerd --config "$disk/containerd.toml"
containerd_answers() { ctr version >/dev/null 2>&1; }
wait_for 300 "an answer of containerd on $name" containerd_answers
import() { ctr --namespace k8s.io images import "$1" >/dev/null; }
import "$images/pause.tar"

wait_for 300 "the key of $name" test -e "$dir/kubeconfig"
cat >"$disk/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $dir/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $dir/pki/$name.crt
tlsPrivateKeyFile: $dir/pki/$name.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /davit-$cluster/$name
enforceNodeAllocatable: []
failSwapOn: false
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: ""
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
nodeStatusUpdateFrequency: 2s
END
supervise "$name-kubelet" "$program" kubelet --config "$disk/kubelet.yaml" --kubeconfig "$dir/pki/$name.kubeconfig" \
  --hostname-override "$name" --node-ip "$address"
# The zeroes leave the kernel's connection tracking alone: its settings cannot be written here.
supervise "$name-proxy" "$program" proxy --kubeconfig "$dir/kubeconfig" --hostname-override "$name" \
  --cluster-cidr 10.244.0.0/16 --proxy-mode iptables --conntrack-max-per-core 0 --conntrack-min 0 \
  --conntrack-tcp-timeout-established 0s --conntrack-tcp-timeout-close-wait 0s
supervise "$name-volumes" "$program" volumes --kubeconfig "$dir/kubeconfig" --node "$name" --folder /var/lib/volumes
supervise "$name-policies" "$program" policies --kubeconfig "$dir/kubeconfig" --node "$name" --name-server "$control"

for image in "$images"/*.tar; do import "$image"; done
touch "$disk/images"
wait
