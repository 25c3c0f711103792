# Says in words how an answer of a proxy's /memory differs from an earlier one.
# Usage: bash compare.sh EARLIER LATER
allocated() { awk -F '"' '$2 == "allocated" { print $4 }' "$1"; }
awk -v a="$(allocated "$1")" -v b="$(allocated "$2")" 'BEGIN {
  word = (b > 2.5 * a) ? "more than twice as much" : (b > 1.7 * a) ? "more" : "about as much"
  print "allocated: " word }'
