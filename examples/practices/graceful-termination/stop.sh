# Ends one pod while a client watches it, and tells what the client and pilot-agent saw.
# Usage: bash stop.sh LABEL PORT WHAT...
for name in client reports "${1#app=}"; do
  kubectl -n shop rollout status "deploy/$name"
done > /dev/null
# A pod of before may still be about to end: take the one that was made last.
pod=$(kubectl -n shop get pod -l "$1" --sort-by=.metadata.creationTimestamp -o name | tail -n 1)
place=$(kubectl -n shop get "$pod" -o jsonpath='{.status.podIP}'):$2
log=$(mktemp) watch=$(mktemp)
kubectl -n shop logs -f "$pod" -c istio-proxy --tail=0 > "$log" &
kubectl -n shop exec deploy/client -- python3 /client/watch.py "$place" "${@:3}" > "$watch" &
until [ -s "$watch" ]; do sleep 0.1; done
sleep 1.6
deleted=${EPOCHREALTIME:-$(date +%s)}  # bash 4 and older know whole seconds only
kubectl -n shop delete "$pod"
wait
cat "$watch"
echo "pilot-agent:"
lines=$(grep -iE 'drain|graceful|active|exit' "$log" | uniq --skip-chars=27)  # after the time
echo "$lines"
{ grep "  $3:" "$watch"; echo "$lines"; } | awk -v who="$3" -v deleted="${deleted/,/.}" '
  function seconds(time) {
    split(time, part, /[T:Z]/)
    return (part[2] * 3600 + part[3] * 60 + part[4] - deleted % 86400 + 86400) % 86400
  }
  $2 == "to" { ended = seconds($3) }
  $2 != "to" && /^2/ { last = seconds($1) }
  END { printf "whole seconds after the deletion: log ends at %d, %s at %d\n", last, who, ended }'
