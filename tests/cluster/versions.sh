# shellcheck shell=bash disable=SC2034
# The versions of what a test cluster is made of: a new version is a new folder in the cache.
# The last number counts changes of our own files that go into it.
kubernetes_version=1.33.13
kubernetes_folder=kubernetes-v$kubernetes_version-2
kubectl_folder=cluster-kubectl-1
dns_folder=coredns-v1.14.3-1
service_folder=cluster-service-2
images_folder=cluster-images-2
