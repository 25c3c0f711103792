module istio-operations-guide/cluster/pause

go 1.26.0
