# A report on orders: {"orders": [{"customer": "Ada", "item": "tea", "quantity": 2, "price": 7.5}, ...]}. jq does the
# sums, from standard input; bash lays out the text.

# Of each customer a line: name, number of orders, sum; the best first.
summarize() {
  jq -r '.orders
    | group_by(.customer)
    | map({name: .[0].customer, orders: length, total: (map(.quantity * .price) | add)})
    | sort_by(-.total, .name)[]
    | [.name, .orders, .total] | @tsv'
}

lay_out() {
  local name orders total
  printf '%-12s %6s %10s\n' Customer Orders Total
  while IFS=$'\t' read -r name orders total; do
    [[ -n $name ]] || continue
    printf '%-12s %6d %10.2f\n' "$name" "$orders" "$total"
  done
}

handler() {
  local summary
  jq -e '.orders | type == "array"' >/dev/null <<<"$1" || raise OrdersError 'orders must be a list'
  summary=$(summarize)
  jq -n --arg summary "$summary" --arg report "$(lay_out <<<"$summary")" '{
    customers: ($summary | split("\n") | map(split("\t") | {name: .[0], total: (.[2] | tonumber)})),
    report: $report
  }'
}
