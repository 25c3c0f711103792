# Measures what this chapter's plots and profiles show, into files of a folder.
# Usage: bash measure.sh FOLDER cost|course|profiles|debounce..., on a cluster of its own, with
# shop.yaml and crowd.yaml applied. Ten proxies are there; Services of namespace crowd change.
folder=$1 proxies=10 made=0
url=http://localhost:15014 api=http://localhost:8001/api/v1/namespaces/crowd/services

# Services up to this number; they select no pods, so that a change of one is a single event.
services() {
  local number
  for number in $(seq $((made + 1)) "$1"); do
    echo "{apiVersion: v1, kind: Service, metadata: {name: s$number, namespace: crowd}, spec:"
    echo "  {ports: [{name: http, port: 80}, {name: tcp, port: 5432}]}}"
    echo ---
  done | kubectl create -f - > /dev/null
  made=$1
  sleep 10
}
change() {
  curl -s -o /dev/null -X PATCH -H 'Content-Type: application/merge-patch+json' \
    -d "{\"metadata\": {\"labels\": {\"at\": \"$(date +%s%N)\"}}}" "$api/s$(($1 % made + 1))"
}

metrics() { curl -s $url/metrics > "$folder/$1"; }
# By how much the series of this name have grown from the first file to the second.
grown() {
  awk -v name="$1" 'index($0, name) == 1 { sum[FILENAME] += $NF }
    END { print sum[ARGV[2]] - sum[ARGV[1]] }' "$folder/before" "$folder/after"
}
pushes() { echo $(($(for kind in c e l r; do echo "$(grown "pilot_xds_pushes{type=\"${kind}ds\"}") +"; done) 0)); }

# Who hears of what: all proxies of all Services, a Sidecar, or discoverySelectors beside it.
scope() {
  kubectl delete -f sidecar.yaml --ignore-not-found > /dev/null
  selectors ''
  case $1 in
    sidecar) kubectl apply -f sidecar.yaml > /dev/null ;;
    selectors) selectors 'discoverySelectors: [{matchLabels: {istio-discovery: enabled}}]' ;;
  esac
  sleep 15
}
selectors() {
  kubectl -n istio-system get configmap istio -o yaml | sed '/discoverySelectors/d' |
    sed "s/^  mesh: |-/&${1:+\n    $1}/" | kubectl apply -f - > /dev/null 2>&1
}

# Twenty changes with a second between them, so that each is pushed by itself: what they cost.
cost() {
  local size what number
  echo services,who,cpu,responses,megabytes
  for size in 50 100 200 400; do
    services $size
    for what in all sidecar selectors; do
      scope $what
      metrics before
      for number in $(seq 20); do change "$number"; sleep 1; done
      sleep 2
      metrics after
      echo "$size,$what,$(grown process_cpu_seconds_total),$(pushes),$(awk -v bytes="$(
        grown pilot_xds_config_size_bytes_sum)" 'BEGIN { printf "%.2f", bytes / 1e6 }')"
    done
  done
}

# Before, in and after such a storm of 20 changes, every two seconds.
course() {
  local what second
  [ $made -ge 200 ] || services 200
  echo second,who,responses
  for what in all sidecar selectors; do
    scope $what
    metrics before
    { sleep 6; for number in $(seq 20); do change "$number"; sleep 0.5; done; } &
    for second in $(seq 2 2 24); do
      sleep 2
      metrics after
      echo "$second,$what,$(pushes)"
      cp "$folder/after" "$folder/before"
    done
    wait $!
  done
}

# Where istiod computes in a storm, and what it holds after it.
profiles() {
  [ $made -ge 200 ] || services 200
  scope all
  { for number in $(seq 60); do change "$number"; sleep 0.3; done; } &
  curl -s -o "$folder/cpu" "$url/debug/pprof/profile?seconds=20"
  wait $!
  curl -s -o "$folder/heap" "$url/debug/pprof/heap"
  go tool pprof -top -cum "$folder/cpu" > "$folder/cpu.txt"
  go tool pprof -top "$folder/heap" > "$folder/heap.txt"
  kinds
}
# Of the processor, some functions with all that they call; of the heap, what each module holds.
kinds() {
  local name
  echo function,seconds
  for name in 'xds.(*DiscoveryServer).pushDeltaXds' xds.LdsGenerator.Generate \
    xds.RdsGenerator.Generate xds.CdsGenerator.GenerateDeltas protoconv.MessageToAny \
    runtime.gcBgMarkWorker 'transport.(*loopyWriter).run'; do
    awk -v name="$name" 'substr($NF, length($NF) - length(name) + 1) == name {
      print name "," $4 + 0; exit }' "$folder/cpu.txt"
  done
  echo module,megabytes
  awk '/flat%/ { table = 1; next }
    table {
      if ($6 ~ /^(sigs\.)?k8s\.io/) module = "k8s.io"
      else if (match($6, /^[a-z.]+\.[a-z]+\/[a-z-]+/)) module = substr($6, 1, RLENGTH)
      else module = "Go itself"
      held[module] += $1 ~ /kB/ ? $1 / 1024 : $1 + 0
    }
    END { for (module in held) printf "%s,%.1f\n", module, held[module] }' "$folder/heap.txt" |
    sort -t , -k 2 -nr | head -n 5
}

# A stream of changes for twelve seconds, so many in each of them, of which only the gateway hears.
debounce() {
  local rate
  [ $made -ge 360 ] || services 360
  scope sidecar
  echo rate,changes,pushes,seconds
  for rate in 2 5 8 12 20 30 2 5 8 12 20 30; do
    sleep 2
    metrics before
    timeout 12 curl -s -X PATCH -H 'Content-Type: application/merge-patch+json' --rate $rate/s \
      -d "{\"metadata\": {\"labels\": {\"at\": \"$(date +%s%N)\"}}}" "$api/s[1-360]" > /dev/null
    sleep 12
    metrics after
    echo "$rate,$(grown 'pilot_inbound_updates{type="svc"}'),$(grown pilot_debounce_time_count),$(awk \
      -v sum="$(grown pilot_debounce_time_sum)" -v count="$(grown pilot_debounce_time_count)" \
      'BEGIN { printf "%.2f", sum / count }')"
  done
}

kubectl label namespace shop istio-system istio-discovery=enabled > /dev/null
kubectl -n shop scale deploy/orders --replicas=$((proxies - 2)) > /dev/null
kubectl -n shop rollout status deploy/orders > /dev/null
kubectl -n istio-system port-forward deploy/istiod 15014 > /dev/null &
kubectl proxy > /dev/null &
sleep 3
for what in "${@:2}"; do
  $what > "$folder/$what.out"
done
kill %1 %2
