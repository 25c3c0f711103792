# Says in words how an answer of a proxy's /memory differs from an earlier one.
# Usage: bash compare.sh EARLIER LATER
number() { awk -F '"' -v field="$1" '$2 == field { print $4 }' "$2"; }
for field in allocated total_physical_bytes; do
  awk -v field=$field -v a="$(number $field "$1")" -v b="$(number $field "$2")" 'BEGIN {
    if (b > 5 * a) words = "more than five times"
    else if (b > 1.5 * a) words = "more"
    else if (b > a / 1.5) words = "about as much"
    else if (b > a / 2.5) words = "about half"
    else words = "less than two fifths"
    print field ": " words }'
done
