# Restarts the gateway while a client outside asks for reports and for short answers.
# Each has a connection of its own. Prints which answers came: the status, then the path.
edge=$(kubectl -n shop get service edge -o jsonpath='{.status.loadBalancer.ingress[0].ip}')
# Pods of before may still be about to end, and some connections still reach them.
until [ "$(kubectl -n shop get pod -l app=edge -o name | wc -l)" = 2 ]; do sleep 0.5; done
running=$(mktemp) answers=$(mktemp)
ask() {
  curl -s -m 30 -o /dev/null -w "%{http_code} $1\n" -H 'host: reports.example.com' "http://$edge$1"
}
until_it_ends() {
  while [ -e "$running" ]; do
    ask /report &
    for _ in 1 2 3 4 5; do ask /; sleep 0.1; done
  done
  wait
}
until_it_ends > "$answers" &
sleep 1
kubectl -n shop rollout restart deploy/edge
kubectl -n shop rollout status deploy/edge | tail -n 1
sleep 2
rm "$running"
wait
sort -u "$answers"
