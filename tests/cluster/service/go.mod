module davit/tests/cluster/service

go 1.24.0
