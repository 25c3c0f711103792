# Measures how long each way takes to give up a connection whose other side does not answer any more.
# Usage: bash measure.sh TIMES, on a cluster of its own with bank.yaml, quotes.yaml, box.yaml,
# clients.yaml and front.yaml, and the program of ask.go as /tmp/ask in the pod of teller.
# Prints a row for each: what gives up, and after how many seconds, computed and measured.
ways='Python Go tcpKeepalive listener options PING idleTimeout'

# Usage: settings TIME INTERVAL PROBES. Each way has a port of its own.
settings() {
  local after=$(($1 + $2 * $3)) port
  kubectl apply -f - <<RULES
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ledger, namespace: shop}
spec:
  host: ledger.bank.svc.cluster.local
  trafficPolicy:
    portLevelSettings:
      - port: {number: 5432}
        connectionPool: {tcp: {tcpKeepalive: {time: $1s, interval: $2s, probes: $3}}}
      - port: {number: 80}
        connectionPool: {http: {idleTimeout: ${after}s}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: quotes, namespace: shop}
spec:
  host: quotes.bank.svc.cluster.local
  trafficPolicy:
    connectionPool: {http: {http2KeepAlive: {interval: $1s, timeout: $(($2 * $3))s}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: bank}
spec:
  selector: {istio: ingressgateway}
  servers:
    - {port: {number: 80, name: http, protocol: HTTP}, hosts: [front.bank]}
    - {port: {number: 443, name: http-second, protocol: HTTP}, hosts: [front.bank]}
RULES
  for port in 8080 8443; do
    sed "s/8080/$port/; s/name: keepalive/&-$port/; s/: 120/: $1/; s/: 30/: $2/; s/: 3$/: $3/" \
      "$([ $port = 8080 ] && echo listener || echo socket-options).yaml" | kubectl apply -f -
  done
  sleep 3
}

# Usage: way NAME NAMESPACE DEPLOYMENT CONTAINER SOCKETS COMMAND...: after the command's first line,
# waits until its connection is gone.
way() {
  "${@:6}" 2> /dev/null | {
    read -r _
    since=$(date +%s.%N)
    kubectl -n "$2" exec "deploy/$3" -c "$4" -- bash -c \
      "while ss -tnH state established '$5' | grep -q .; do sleep 0.1; done"
    awk -v name="$1" -v computed="$after" -v since="$since" -v till="$(date +%s.%N)" \
      'BEGIN { printf "%s,%d,%.1f\n", name, computed, till - since }'
    cat > /dev/null
  }
}
ask() { kubectl -n "$1" exec -i "deploy/$2" -c python -- python3 - "${@:3}" < ask.py; }
curl_once() { kubectl -n shop exec deploy/orders -c curl -- curl -s -w '\n' "$1"; }
cut_off() { kubectl -n bank exec deploy/box -- iptables "$1" FORWARD -j DROP; }

# Usage: round TIME INTERVAL PROBES: asks by each way at once, and cuts the box off.
round() {
  local after=$(($1 + $2 * $3)) pause=$(($1 + $2 * $3 + 5))
  settings "$@" > /dev/null 2>&1
  way Python bank teller tools "dst $address:80" ask bank teller ledger.bank 80 / $pause "$@" &
  way Go bank teller tools "dst $address:5432" \
    kubectl -n bank exec deploy/teller -c python -- /tmp/ask ledger.bank:5432 $pause "$@" &
  way tcpKeepalive shop orders istio-proxy "dst $box" \
    ask shop orders ledger.bank 5432 / $pause &
  way listener istio-system istio-ingressgateway istio-proxy 'sport = :8080' \
    ask bank teller front.bank 80 / $pause &
  way options istio-system istio-ingressgateway istio-proxy 'sport = :8443' \
    ask bank teller front.bank 443 / $pause &
  way PING shop orders istio-proxy 'dport = :8090' curl_once http://quotes.bank/ &
  way idleTimeout shop orders istio-proxy 'dport = :8080' curl_once http://ledger.bank/ &
  sleep 2
  cut_off -I
  wait
  cut_off -D
}

address=$(kubectl -n bank get service ledger -o jsonpath='{.spec.clusterIP}')
box=$(kubectl -n bank get pod -l app=box -o jsonpath='{.items[0].status.podIP}'):5432
rows=$(for _ in $(seq "$1"); do round 4 1 2; round 5 2 3; round 8 4 3; done)
echo way,computed,seconds
for way in $ways; do grep "^$way," <<< "$rows"; done
