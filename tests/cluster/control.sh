#!/usr/bin/env bash
# Process 1 of a cluster, and its control plane: control.sh NAME, called by watcher.sh in fresh namespaces.
set -euo pipefail
cluster=$1
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

wait_for 120 "the link to the host" test -s "$dir/slot"
control=$(address_of_control)
pki=$dir/pki

hostname control
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add nodes type bridge
ip link set uplink master nodes up
ip addr add "$control/24" dev nodes
ip link set nodes up
for n in $nodes; do ip route add "10.244.$n.0/24" via "$(address_of_node "$n")"; done
sysctl -qw net.ipv4.ip_forward=1

make_cgroup "davit-$cluster"
make_cgroup "davit-$cluster/control"
join_cgroup "davit-$cluster/control"
"$here/pki.sh" "$cluster"

run_node() { # N
  make_cgroup "davit-$cluster/node-$1"
  make_cgroup "davit-$cluster/node-$1/daemons"
  join_cgroup "davit-$cluster/node-$1/daemons"
  # The node plugs itself into this network by descriptor 7.
  exec 7</proc/self/ns/net
  exec unshare --pid --fork --kill-child --mount --mount-proc --net --uts -- bash "$here/node.sh" "$cluster" "$1"
}
for n in $nodes; do supervise "node-$n" run_node "$n"; done

supervise etcd "$program" etcd --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
  --initial-cluster default=http://127.0.0.1:2380
supervise apiserver "$program" apiserver --etcd-servers http://127.0.0.1:2379 \
  --advertise-address "$control" --secure-port 6443 \
  --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
  --service-account-issuer https://kubernetes.default.svc --service-cluster-ip-range 10.96.0.0/16 \
  --service-account-key-file "$pki/accounts.key" --service-account-signing-key-file "$pki/accounts.key" \
  --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged \
  --kubelet-client-certificate "$pki/admin.crt" --kubelet-client-key "$pki/admin.key" \
  --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
  --requestheader-client-ca-file "$pki/ca.crt" --enable-aggregator-routing

supervise kubectl env KUBECACHEDIR="$dir/kubectl-cache" "$program" kubectl-server "$dir/bin/kubectl.socket"
# `cluster.sh` put it there; until that server listens it is one by itself.
kubectl() { "$dir/bin/kubectl" --kubeconfig "$dir/kubeconfig" "$@"; }
is_ready() { kubectl get --raw /readyz >/dev/null 2>&1; }
wait_for 300 "an answer of the API server" is_ready

own() { echo --kubeconfig "$pki/$1.kubeconfig" --authentication-kubeconfig "$pki/$1.kubeconfig" --authorization-kubeconfig "$pki/$1.kubeconfig" --leader-elect=false; }
# A lost node is noticed after 10 s instead of 50 s.
# shellcheck disable=SC2046
supervise controllers "$program" controllers $(own controllers) --use-service-account-credentials \
  --service-account-private-key-file "$pki/accounts.key" --root-ca-file "$pki/ca.crt" --cluster-cidr 10.244.0.0/16 \
  --node-monitor-grace-period 10s --node-monitor-period 1s
# shellcheck disable=SC2046
supervise scheduler "$program" scheduler $(own scheduler)

# The world outside of the cluster has no names.
cat >"$dir/Corefile" <<END
cluster.local:53 in-addr.arpa:53 {
  bind $control
  errors
  ready 127.0.0.1:8181
  kubernetes {
    kubeconfig $dir/kubeconfig
    ttl 1
  }
  cache 1
  loadbalance
}
.:53 {
  bind $control
  template ANY ANY {
    rcode NXDOMAIN
  }
}
END
supervise dns "$dns_program" -conf "$dir/Corefile"

mkdir -p "$dir/s3/data" "$dir/s3/versions"
supervise s3 env ROOT_ACCESS_KEY=davit-test ROOT_SECRET_KEY=davit-test-secret \
  "$(find "$cache" -maxdepth 2 -type f -name versitygw | head -n 1)" --port "$control:7070" --region us-east-1 \
  posix --versioning-dir "$dir/s3/versions" "$dir/s3/data"

sed "s/CONTROL/$control/" "$here/addons.yaml" | kubectl apply --filename - >/dev/null
all_ready() { [ "$(kubectl get nodes --output jsonpath='{.items[*].status.conditions[?(@.type=="Ready")].status}')" = "True True True" ]; }
wait_for 300 "three nodes being ready" all_ready
for n in $nodes; do wait_for 300 "the images on node-$n" test -e "$dir/node-$n/images"; done
dns_answers() { (: </dev/tcp/127.0.0.1/8181) 2>/dev/null; }
wait_for 300 "an answer of the name server" dns_answers
has_account() { kubectl get serviceaccount default >/dev/null 2>&1; }
wait_for 300 "the first service account" has_account
touch "$dir/ready"
wait
