# Lists the queries of the dashboard as Grafana sends them: a line for each, with the place, the kind (range, instant or values), the label
# whose values are asked for, and the expression, separated by U+001F. All values of the variables are selected.

([.templating.list[] | select(.type == "query") | {key: .name, value: .allValue}] | from_entries) as $all
| def filled:
    gsub("\\$__interval"; "3s") | gsub("\\$__rate_interval"; "4s") | gsub("\\$__range_s"; "3000000000") | gsub("\\$__range"; "1h")
    | gsub("\\$policy"; $all.policy) | gsub("\\$namespace"; $all.namespace) | gsub("\\$repository"; $all.repository);
  [
    (.panels[] | ., (.panels // [])[]) | .title as $title | (.targets // [])[]
    | {place: "panel \($title), query \(.refId)", kind: (if .instant then "instant" else "range" end), expr}
  ]
  + [.annotations.list[] | {place: "annotation \(.name)", kind: "range", expr}]
  + [
      .templating.list[] | select(.type == "query")
      | .name as $name | .query.query | [capture("^label_values\\((?<expr>.*), (?<label>[a-z_]+)\\)$")]
      | {place: "variable \($name)", kind: "values"} + (first // error("variable \($name): expected label_values(SERIES, LABEL)"))
    ]
| .[] | [.place, .kind, .label // "", (.expr | filled)] | join("\u001f")
