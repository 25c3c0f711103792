# Measures what this chapter's plots show, and prints it: a row for each start of an application.
# Usage: bash measure.sh mesh|outage STARTS NUMBER..., on a cluster of its own, with config.yaml and
# far.yaml: `mesh` makes Services up to each number, `outage` keeps istiod away for those seconds.

# Starts the application beside a classic sidecar, with more annotations and fields of its pod.
# It asks again every 20 ms, so that its log has the time of the first answer.
start() {
  kubectl -n shop delete deploy orders --ignore-not-found --cascade=foreground > /dev/null
  awk -v annotation="$1" -v field="$2" '
    /^      containers:/ && field { print "      " field }
    1
    /nativeSidecar/ && annotation { print "        sidecar.istio.io/" annotation }' orders.yaml |
    sed 's|config/settings"|&, "600"|; s|sleep(1)|sleep(0.02)|' |
    sed "/^kind: Deployment/,/^spec:/ s/^spec:/&\n  replicas: ${replicas:-1}/" | kubectl apply -f - > /dev/null
}
near() { start; }
far() {
  start "" "hostAliases: [{hostnames: [istiod.istio-system.svc], ip: $(
    kubectl -n shop get service far -o jsonpath='{.spec.clusterIP}')}]"
}
throttled() { start 'proxyCPULimit: 100m'; }
scoped() { kubectl apply -f sidecar.yaml > /dev/null; sleep 2; start; }

# The new pods, after the old ones are gone.
again() {
  kubectl -n shop delete pod -l app=orders --grace-period=1 > /dev/null
  until pods=$(kubectl -n shop get pod -l app=orders -o name) && [ "$pods" ]; do sleep 0.1; done
}

# When, in seconds of the day, a container's log has a line with this text; waits for it.
when() {
  local log
  until log=$(kubectl -n shop logs "$1" 2> /dev/null | grep "$2"); do sleep 0.2; done
  awk -F '[T:Z]' '{ printf "%.3f", $2 * 3600 + $3 * 60 + $4; exit }' <<< "$log"
}
row() { awk -v first="$1" -v a="$2" -v b="$3" 'BEGIN { printf "%s,%.2f\n", first, b - a }'; }

mesh() {
  local made=0 services kind
  kubectl create namespace crowd > /dev/null
  echo services,proxy,seconds
  for services in "${@:2}"; do
    for number in $(seq $((made + 1)) "$services"); do
      echo "{apiVersion: v1, kind: Service, metadata: {name: s$number, namespace: crowd}, spec:"
      echo "  {selector: {app: none}, ports: [{name: http, port: 80}, {name: tcp, port: 5432}]}}"
      echo ---
    done | kubectl create -f - > /dev/null
    made=$services
    sleep 10
    for kind in near far throttled scoped; do
      $kind
      for _ in $(seq "$1"); do
        again
        row "$services,$kind" "$(when "$pods" starts)" "$(when "$pods" has)"
      done
    done
    kubectl delete -f sidecar.yaml > /dev/null
  done
}

outage() {
  local seconds pod back
  echo outage,seconds
  replicas=$1 far
  for seconds in "${@:2}"; do
    kubectl -n shop scale deploy/far --replicas=0 > /dev/null
    kubectl -n shop wait --for=delete pod -l app=far --timeout=1m > /dev/null
    again
    sleep "$seconds"
    kubectl -n shop scale deploy/far --replicas=1 > /dev/null
    back=$(when deploy/far listens)
    for pod in $(kubectl -n shop get pod -l app=orders -o name); do
      row "$seconds" "$back" "$(when "$pod" has)"
    done
  done
}

"$@"
