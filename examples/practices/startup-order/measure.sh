# Measures what this chapter's plots show, and prints it: a row for each start of an application.
# Usage: bash measure.sh starts TIMES | outage PODS SECONDS..., on a cluster of its own, with
# prices.yaml and orders.yaml: `starts` starts one pod of each kind so many times, `outage` keeps
# prices away for so many seconds, from so many pods.

# The Deployment of a kind; its pods have the label app=measured. Only a held one asks once.
deployment() {
  case $1 in
    without) sed 's/nativeSidecar: "true"/inject: "false"/' again.yaml ;;
    classic) sed '/nativeSidecar/s/true/false/' again.yaml ;;
    held) cat hold.yaml ;;
    native | again) cat again.yaml ;;
    once) cat once.yaml ;;
  esac | sed "s/: \(again\|hold\|once\)\( .*\)*$/: measured/; s/^spec:/&\n  replicas: $2/" |
    kubectl apply -f - > /dev/null
}
measured() { kubectl -n shop get pod -l app=measured -o name; }
gone() { kubectl -n shop delete deploy measured --cascade=foreground > /dev/null; }

now() { date -u +%s.%N; }
# When, in seconds, the log of a pod has a line with this text; waits for it.
when() {
  local line
  until line=$(kubectl -n shop logs "$1" -c orders 2> /dev/null | grep -m 1 "$2"); do sleep 0.2; done
  date -u -d "${line%% *}" +%s.%N
}
row() { awk -v first="$1" -v a="$2" -v b="$3" 'BEGIN { printf "%s,%.2f\n", first, b - a }'; }

starts() {
  local kind from
  echo sidecar,until,seconds
  for _ in $(seq "$1"); do
    for kind in without classic held native; do
      from=$(now)
      deployment $kind 1
      until [ "$(measured)" ]; do sleep 0.1; done
      row "$kind,starts" "$from" "$(when "$(measured)" ' starts')"
      row "$kind,answer" "$from" "$(when "$(measured)" ' has ')"
      gone
    done
  done
}

outage() {
  local kind pod from seconds
  echo outage,code,seconds
  for seconds in "${@:2}"; do
    for kind in once again; do
      kubectl -n shop scale deploy/prices --replicas=0 > /dev/null
      kubectl -n shop wait pod -l app=prices --for=delete --timeout=1m > /dev/null
      deployment $kind "$1"
      sleep "$seconds"
      kubectl -n shop scale deploy/prices --replicas=1 > /dev/null
      kubectl -n shop rollout status deploy/prices > /dev/null
      from=$(now)
      for pod in $(measured); do
        row "$seconds,$kind" "$from" "$(when "$pod" ' has ')"
      done
      gone
    done
  done
}

"$@"
