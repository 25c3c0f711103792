# Measures what this chapter's plots show, and prints it.
# Usage, on a cluster of its own, with client.yaml:
#   bash measure.sh latency TIMES       how long requests take on eight long connections
#   bash measure.sh short WORKERS...    what a short connection costs a gateway
client() { kubectl -n shop exec deploy/client -c client -- python3 "/client/$1" "${@:2}"; }

# A new gateway, with the default or with exact balance, and so many workers.
start() {
  kubectl -n shop delete deploy edge --ignore-not-found --cascade=foreground > /dev/null
  kubectl apply -f edge.yaml > /dev/null
  if [ "$1" = exact ]; then cat exact-balance.yaml; else cat edge.yaml; fi |
    sed "s/concurrency: 4/concurrency: $2/" | kubectl apply -f - > /dev/null
  kubectl -n shop rollout status deploy/edge > /dev/null
  sleep 4
  pod=$(kubectl -n shop get pod -l app=edge --sort-by=.metadata.creationTimestamp -o name | tail -n 1)
}

# The connections of the worker that has most of them.
busiest() {
  kubectl -n shop exec "$pod" -- pilot-agent request GET 'stats?filter=_8080.worker_.*_active' 2> /dev/null |
    awk '$2 > most { most = $2 } END { print most }'
}

# Each request stops its worker for 20 ms, as if it computed.
work() {
  cat << 'EOF'
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: work
  namespace: shop
spec:
  workloadSelector:
    labels:
      app: edge
  configPatches:
    - applyTo: HTTP_FILTER
      match:
        context: GATEWAY
        listener:
          filterChain:
            filter:
              name: envoy.filters.network.http_connection_manager
      patch:
        operation: INSERT_FIRST
        value:
          name: work
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
            default_source_code:
              inline_string: |
                local ffi = require("ffi")
                ffi.cdef("int usleep(unsigned int microseconds);")
                function envoy_on_request(request)
                  ffi.C.usleep(20000)
                end
EOF
}

latency() {
  local balance file most
  file=$(mktemp)
  work | kubectl apply -f - > /dev/null 2>&1
  echo balance,busiest,percentile,ms
  for balance in exact default; do
    start $balance 4
    client load.py edge:80 8 40 3 > /dev/null
    for _ in $(seq "$1"); do
      client load.py edge:80 8 60 15 > "$file" &
      sleep 3
      most=$(busiest)
      wait
      echo "$balance,$most,p50,$(cut -d , -f 1 "$file")"
      echo "$balance,$most,p99,$(cut -d , -f 2 "$file")"
    done
  done | sort -t , -k 2n
  work | kubectl delete -f - > /dev/null 2>&1
}

# The CPU time of all workers, in hundredths of a second.
spent() {
  kubectl -n shop exec "$pod" -- sh -c 'cat /proc/[0-9]*/task/*/stat' 2> /dev/null |
    awk '/\(wrk:worker_/ { ticks += $14 + $15 } END { print ticks }'
}

short() {
  local balance before took workers
  echo workers,balance,microseconds,p50,p99
  for workers in "$@"; do
    for balance in default exact; do
      start $balance "$workers"
      client short.py edge:80 1000 > /dev/null
      for _ in 1 2 3; do
        before=$(spent)
        took=$(client short.py edge:80 4000)
        echo "$workers,$balance,$((($(spent) - before) * 10000 / 4000)),$took"
      done
    done
  done
}

"$@"
