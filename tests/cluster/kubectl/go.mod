module davit/tests/cluster/kubectl

go 1.24.0
