# Measures what this chapter's plots show, and prints it.
# Usage, on a cluster of its own:
#   bash measure.sh paths PATHS...   memory after each number of paths, by what the metrics are
#   bash measure.sh stages PATHS     memory before, with so many paths, and after they have gone
admin() { kubectl -n shop exec deploy/orders -c istio-proxy -- pilot-agent request "$@" 2> /dev/null; }
mib() { awk '{ printf "%.1f\n", $1 / 1048576 }'; }
allocated() { admin GET memory | awk -F '"' '$2 == "allocated" { print $4 }' | mib; }
# What the kernel counts for the container, with cgroup v2 or v1.
container() {
  kubectl -n shop exec deploy/orders -c istio-proxy -- sh -c 'cd /sys/fs/cgroup
    cat memory.current memory/memory.usage_in_bytes 2> /dev/null; true' | mib
}
restarts() {
  kubectl -n shop get pod -l app=orders -o jsonpath="{.items[0].status.\
initContainerStatuses[?(@.name=='istio-proxy')].restartCount}"
}
ask() {
  kubectl -n shop exec deploy/client -- curl -sf -o /dev/null "$@"
}

# A fresh proxy with a limit of memory and a filter; the second Deployment forgets metrics.
start() {
  kubectl -n shop delete deploy orders --ignore-not-found --cascade=foreground > /dev/null
  kubectl apply -f "$3" > /dev/null 2>&1
  sed "s/^      annotations:/&\n        sidecar.istio.io\/proxyMemoryLimit: $1\n        sidecar.istio.io\/proxyCPULimit: \"2\"\
\n        sidecar.istio.io\/proxyMemory: 64Mi\n        sidecar.istio.io\/proxyCPU: 10m/" "$2" |
    kubectl apply -f - > /dev/null
  kubectl -n shop rollout status deploy/orders > /dev/null
  until ask http://orders/orders/1; do sleep 1; done
}

paths() {
  kubectl apply -f shop.yaml > /dev/null
  kubectl -n shop rollout status deploy/client > /dev/null
  echo paths,metrics,mib
  for kind in by-path bounded limited; do
    start 256Mi orders.yaml $kind.yaml
    from=1
    for paths in "$@"; do
      [ "$paths" = 0 ] || ask "http://orders/orders/[$from-$paths]" || true
      sleep 6  # until Envoy has put histograms together
      if [ "$(restarts)" != 0 ]; then
        echo "# $kind: killed between $((from - 1)) and $paths paths" >&2
        break
      fi
      [ $kind = by-path ] && echo "$paths,container,$(container)"
      echo "$paths,$kind,$(allocated)"
      from=$((paths + 1))
    done
  done
}

stage() {
  sleep 6  # as above
  echo "$1,allocated,$(allocated)"
  echo "$1,container,$(container)"
}
stages() {
  kubectl apply -f shop.yaml > /dev/null
  kubectl -n shop rollout status deploy/client > /dev/null
  work=$(mktemp -d)
  sed '/max_\|A value/d' limited.yaml > "$work/evictable.yaml"
  echo stage,number,mib
  start 1Gi evict.yaml "$work/evictable.yaml"; stage before
  ask "http://orders/orders/[1-$1]"; stage "$1 paths"
  while admin GET stats | grep -q ^by_path; do sleep 1; done; stage evicted
  ask "http://orders/orders/[1-$1]"; stage "$1 paths again"
  start 1Gi evict.yaml "$work/evictable.yaml"; stage restart
}

"$@"
