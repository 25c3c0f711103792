# Waits until the application has its settings, then tells what it and its proxy logged until then.
# Usage: bash start.sh, after a change of the Deployment orders. Of failed starts it shows the first.
in_shop() { kubectl -n shop "$@"; }
all=$(mktemp)
newest() { in_shop get pod -l app=orders --sort-by=.metadata.creationTimestamp -o name | tail -n 1; }
sleep 2  # until the new pod is there
until pod=$(newest) && grep -q 'has its settings' "$all"; do
  { in_shop logs "$pod" -c orders --previous; in_shop logs "$pod" -c orders; } >> "$all" 2> /dev/null
  sleep 0.2
done
in_shop logs "$pod" -c orders --previous >> "$all" 2> /dev/null  # it may have ended in between
in_shop rollout status deploy/orders > /dev/null
now=$(date -u +%FT%T.%6NZ)
# Later commands are to meet no pod of before.
until [ "$(in_shop get pod -l app=orders -o name | wc -l)" = 1 ]; do sleep 0.2; done
proxy=$(in_shop logs "$pod" -c istio-proxy |
  grep -E 'Starting proxy agent|connected to delta upstream|Envoy proxy is ready' | cut -f 1,3-)
# Each line of the application's log once, and of several failed starts the first.
orders=$(sort -u "$all" | cut -f 1,3- | awk -F '\t' '
  $2 == "orders starts" { start = $0; next }
  /no settings/ { if (!failed++) print start "\n" $0; next }
  { print start "\n" $0 }')
{ sed 's/^/orders\t/' <<< "$orders"; sed 's/^/istio-proxy\t/' <<< "$proxy"; } |
  awk -F '\t' -v now="$now" '
  { line[NR] = $2 "\t" $1 ": " $3 ($4 ? " " $4 : "") }
  $1 == "orders" && !began { began = $2 }
  /orders starts/ { last = $2; starts++ }
  /has its settings/ { has = $2 }
  $1 == "istio-proxy" && !agent { agent = $2 }
  /is ready/ { ready = $2 }
  END {
    if (starts > 1) print began " to " last "  orders: fails, waits, starts again"
    print last " to " has "  orders: asks"
    print has " to " now "  orders: 200, runs"
    print agent " to " ready "  istio-proxy: starts"
    print ready " to " now "  istio-proxy: ready"
    for (n = 1; n <= NR; n++) print line[n]
    print "orders started " (starts > 1 ? "more than once" : "once")
  }'
