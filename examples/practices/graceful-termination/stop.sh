# Ends one pod while a client watches it, and tells what the client and pilot-agent saw.
# Usage: bash stop.sh LABEL PORT WHAT...
for name in client reports "${1#app=}"; do
  kubectl -n shop rollout status "deploy/$name"
done > /dev/null
# A pod of before may still be about to end: take the one that was made last.
pod=$(kubectl -n shop get pod -l "$1" --sort-by=.metadata.creationTimestamp -o name | tail -n 1)
place=$(kubectl -n shop get "$pod" -o jsonpath='{.status.podIP}'):$2
log=$(mktemp) watch=$(mktemp)
kubectl -n shop logs -f "$pod" -c istio-proxy > "$log" &
kubectl -n shop exec deploy/client -- python3 /client/watch.py "$place" "${@:3}" > "$watch" &
until [ -s "$watch" ]; do sleep 0.1; done
sleep 0.4
echo "deleted at $(date -u +%FT%TZ)"
kubectl -n shop delete "$pod" > /dev/null
wait
cat "$watch"
echo "pilot-agent:"
# The lines about the end, without what the agent prints at its start; one that repeats only once.
lines=$(sed -n '/draining Proxy\|starting drain/,$p' "$log" | grep -iE 'drain|graceful|active|exit' |
  uniq --skip-chars=27)
echo "$lines"
{ echo "$lines"; cat "$watch"; } | awk '
  function seconds(time) { split(time, part, /[T:Z]/); return part[2] * 3600 + part[3] * 60 + part[4] }
  NR == 1 { began = seconds($1) }
  /slow: no answer/ { lost = (seconds($3) - began + 86400) % 86400 }
  # Time on a busy machine is not exact, so no seconds are told, but which of the two it was.
  END {
    if (lost) print "slow was lost", lost < 4 ? "before" : "when", "the drain of five seconds was over"
  }'
