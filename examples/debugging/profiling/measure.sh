# Measures what this chapter's plots show, and prints it.
# Usage, on a cluster of its own:
#   bash measure.sh mesh SERVICES...   allocated memory, with a mesh that grows up to each number
#   bash measure.sh stages SERVICES    several numbers, before and after a mesh that size is cut down
admin() { kubectl -n shop exec deploy/web -c istio-proxy -- pilot-agent request "$@" 2> /dev/null; }
mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f\n", bytes / 1048576 }'; }
memory() { admin GET memory | awk -F '"' -v field="$1" '$2 == field { print $4 }'; }

# A fresh proxy, with one more annotation if there is one.
start() {
  kubectl -n shop delete deploy web --ignore-not-found --cascade=foreground > /dev/null 2>&1
  awk -v annotation="$1" '/proxyCPULimit/ { next } 1
    /proxyMemory:/ && annotation { print "        sidecar.istio.io/" annotation }' limit.yaml |
    sed 's/Limit: 512Mi/Limit: 2Gi/' | kubectl apply -f - > /dev/null
  kubectl -n shop rollout status deploy/web > /dev/null
  sleep 5
}

mesh() {
  kubectl apply -f web.yaml > /dev/null
  echo clusters,proxy,mib
  for services in "$@"; do
    [ "$services" = 0 ] || bash services.sh crowd "$services" | kubectl apply -f - > /dev/null
    for kind in whole statistics; do
      if [ $kind = whole ]; then start; else start 'statsInclusionRegexps: ".*"'; fi
      echo "$((2 * services)),$kind,$(mib "$(memory allocated)")"
    done
    kubectl apply -f sidecar.yaml > /dev/null
    start
    echo "$((2 * services)),scoped,$(mib "$(memory allocated)")"
    kubectl delete -f sidecar.yaml > /dev/null
  done
}

# What the kernel counts for the container, by a debug container beside it.
container() {
  local pod
  pod=$(kubectl -n shop get pod -o name | tail -n 1)
  kubectl -n shop debug "$pod" -c look --image=python:3.13-slim --target=istio-proxy \
    --profile=general -- sleep infinity > /dev/null 2>&1
  kubectl -n shop wait --for=jsonpath='{.status.ephemeralContainerStatuses[0].state.running}' \
    "$pod" > /dev/null
  kubectl -n shop exec "$pod" -c look -- sh -c 'cd /proc/1/root/sys/fs/cgroup
    cat memory.current memory/memory.usage_in_bytes 2> /dev/null'
}
heap() {
  admin GET heap_dump | head -c -1 > "$work/heap"
  go tool pprof -top -symbolize=none -unit=bytes "$work/heap" | awk '/^Showing/ { print $5 + 0 }'
}
stage() {
  echo "$1,allocated,$(mib "$(memory allocated)")"
  echo "$1,heap,$(mib "$(heap)")"
  echo "$1,physical,$(mib "$(memory total_physical_bytes)")"
  echo "$1,container,$(mib "$(container)")"
}

stages() {
  work=$(mktemp -d)
  kubectl apply -f web.yaml > /dev/null
  echo stage,number,mib
  start; stage before
  bash services.sh crowd "$1" | kubectl apply -f - > /dev/null; sleep 10; stage "$1 Services"
  kubectl apply -f sidecar.yaml > /dev/null; sleep 10; stage Sidecar
  start; stage restart
}

"$@"
