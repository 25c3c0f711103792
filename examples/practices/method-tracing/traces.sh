# Prints the traces that have a text as soon as they have so many spans, or when no more come.
# Usage: bash traces.sh TEXT SPANS; without so many it waits until nothing new came for 15 seconds.
quiet=0 before=
until [ $quiet = 5 ]; do
  sleep 3
  found=$(kubectl -n observability logs deploy/collector | python3 spans.py "$1")
  [ "$(grep -c ' ms  ' <<< "$found")" -lt "$2" ] || break
  [ "$found" = "$before" ] && quiet=$((quiet + 1)) || quiet=0
  before=$found
done
echo "${found:-no trace}"
