#!/usr/bin/env bash
# Makes the certificates and kubeconfigs of one cluster: pki.sh NAME
set -euo pipefail
cluster=$1
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

pki=$dir/pki
control=$(address_of_control)
mkdir -p "$pki"
curve="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"

# shellcheck disable=SC2086
openssl req -x509 $curve -keyout "$pki/ca.key" -out "$pki/ca.crt" -subj /CN=davit-test -days 30 2>/dev/null
openssl ecparam -name prime256v1 -genkey -noout -out "$pki/accounts.key"

certificate() { # NAME SUBJECT OTHER-NAMES
  # shellcheck disable=SC2086
  openssl req $curve -keyout "$pki/$1.key" -out "$pki/$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -out "$pki/$1.crt" -days 30 \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth' "$3") 2>/dev/null
}

# Everything is inside the file, so that it can be copied, or given to a pod.
kubeconfig() { # NAME FILE
  cat >"$2" <<END
apiVersion: v1
kind: Config
clusters: [{name: $cluster, cluster: {server: "https://$control:6443", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$pki/$1.crt"), client-key-data: $(base64 -w0 "$pki/$1.key")}}]
contexts: [{name: $cluster, context: {cluster: $cluster, user: $1}}]
current-context: $cluster
END
}

kubeconfig_of() { kubeconfig "$1" "$pki/$1.kubeconfig"; }
service=kubernetes.default.svc
certificate apiserver /CN=kube-apiserver \
  "DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local,DNS:localhost,IP:127.0.0.1,IP:$control,IP:10.96.0.1"
certificate admin /O=system:masters/CN=admin DNS:admin
certificate controllers /CN=system:kube-controller-manager DNS:controllers
kubeconfig_of controllers
certificate scheduler /CN=system:kube-scheduler DNS:scheduler
kubeconfig_of scheduler
for n in $nodes; do
  certificate "node-$n" "/O=system:nodes/CN=system:node:node-$n" "DNS:node-$n,IP:$(address_of_node "$n")"
  kubeconfig_of "node-$n"
done
# Last: who sees it may use it.
kubeconfig admin "$dir/kubeconfig"
