# Says how many workers of a proxy do its work, by their CPU time in three seconds.
# Usage: bash threads.sh NAMESPACE DEPLOYMENT
used() {
  kubectl -n "$1" exec "deploy/$2" -c istio-proxy -- sh -c 'cat /proc/[0-9]*/task/*/stat' 2> /dev/null |
    awk '/\(wrk:worker_/ { print $2, $14 + $15 }'
}
{ used "$@"; sleep 3; used "$@"; } | awk '
  $1 in before { spent[$1] = $2 - before[$1]; all += spent[$1]; workers++ }
  { before[$1] = $2 }
  END { for (worker in spent) if (spent[worker] > all / 20) busy++
        print busy + 0, "of", workers, "workers do the work" }'
