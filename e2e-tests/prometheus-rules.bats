#!/usr/bin/env bats
# The rules for Prometheus are valid, do what their tests say, and are documented.

load helpers

RULES="$ROOT/monitoring/prometheus-rules.yaml"
# The folder with the rules and their tests, or a copy of it with other rules.
MONITORING="$ROOT/monitoring"

setup() { command -v promtool > /dev/null || { echo "promtool is missing: run \`hack/setup test\`"; return 1; }; }

# alerts: prints a line for each alert: name, severity, for (or -), summary, description, URL of the runbook. They are separated by tabs.
alerts() {
  awk '
    function flush_alert() {
      if (name != "") printf "%s\t%s\t%s\t%s\t%s\t%s\n", name, value["severity"], value["for"], value["summary"], value["description"], value["runbook_url"]
      name = ""; split("", value); value["for"] = "-"
    }
    / - (alert|record): | - name: / { flush_alert() }
    / - alert: / { name = $NF }
    name != "" && /^ *(severity|for|summary|description|runbook_url): / { key = $1; sub(/:$/, "", key); sub(/^ *[a-z_]+: /, ""); value[key] = $0 }
    END { flush_alert() }' "$RULES"
}

# test_rules FOLDER: tests the rules with each file of tests, four at a time. Prints what failed.
test_rules() {
  local file failed=0
  printf '%s\0' "$1"/tests/*.yaml | xargs -0 -P 4 -I FILE sh -c 'promtool test rules "$1" > "$2/$(basename "$1").out" 2>&1' - FILE "$BATS_TEST_TMPDIR" || failed=1
  for file in "$BATS_TEST_TMPDIR"/*.out; do
    grep -qx '  SUCCESS' "$file" || cat "$file"
  done
  return "$failed"
}

# copy: copies the rules and their tests, so that the rules can be changed.
copy() {
  cp -r "$MONITORING" "$BATS_TEST_TMPDIR/monitoring"
  echo "$BATS_TEST_TMPDIR/monitoring"
}

@test "promtool accepts the rules" {
  run promtool check rules "$RULES"
  echo "$output"
  [ "$status" -eq 0 ]
  assert_contains "$output" "$(grep -cE ' - (alert|record): ' "$RULES") rules found"
}

@test "the rules pass their tests" {
  run test_rules "$MONITORING"
  echo "$output"
  [ "$status" -eq 0 ]
}

@test "each alert has a test in which it fires, and one in which it does not" {
  local name problems="" tests
  tests="$(cat "$MONITORING"/tests/*.yaml)"
  while IFS=$'\t' read -r name _; do
    awk -v name="$name" '
      /^  - name: / { is_firing = index($0, "name: " name " fires"); is_silent = index($0, "name: " name " does not fire") }
      is_firing && $0 ~ "alertname: " name "$" { is_open = 1 }
      is_firing && is_open && /- exp_labels: / { fires = 1 }
      is_silent && index($0, "alertname: " name ",") && /exp_alerts: \[\]/ { silent = 1 }
      /alertname: / && $0 !~ name { is_open = 0 }
      END { exit !(fires && silent) }' <<< "$tests" || problems+="$name "
  done < <(alerts)
  echo "without a test that fires it, or one that does not: $problems"
  [ "$problems" = "" ]
  [ "$(alerts | wc -l)" -ge 20 ]
}

@test "for each alert with \`for\`, a test fails without it" {
  local folder
  folder="$(copy)"
  sed -i '/^        for: /d' "$folder/prometheus-rules.yaml"
  run test_rules "$folder"
  [ "$status" -ne 0 ]
  diff <(alerts | awk -F'\t' '$3 != "-" { print $1 }' | sort) <(sed -n 's/^ *alertname: \([A-Za-z]*\), time.*/\1/p' <<< "$output" | sort -u)
}

@test "each recording rule has a test" {
  local name problems=""
  while read -r name; do
    grep -qE "expr: .*$name" "$MONITORING"/tests/*.yaml || problems+="$name "
  done < <(sed -n 's/^ *- record: //p' "$RULES")
  echo "without a test: $problems"
  [ "$problems" = "" ]
}

@test "each alert has a severity, a summary, a description, and a runbook in docs/" {
  local name severity for summary description url anchors problems=""
  anchors="$(sed -n 's/^#\+ //p' "$ROOT/docs/monitoring.md" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9_\n-')"
  while IFS=$'\t' read -r name severity for summary description url; do
    grep -qxE 'critical|warning|info' <<< "$severity" || problems+="$name: severity $severity"$'\n'
    [ ${#summary} -gt 10 ] || problems+="$name: summary"$'\n'
    [ ${#description} -gt 20 ] || problems+="$name: description"$'\n'
    [ "$url" = "https://github.com/container-patch/container-patch-policy/blob/main/docs/monitoring.md#${name,,}" ] || problems+="$name: $url"$'\n'
    grep -qx "${url#*#}" <<< "$anchors" || problems+="$name: docs/monitoring.md has no such heading"$'\n'
  done < <(alerts)
  echo "$problems"
  [ "$problems" = "" ]
}

@test "docs/monitoring.md has no runbook of an alert that does not exist" {
  diff <(alerts | cut -f1 | sort) <(sed -n 's/^### \(ContainerPatch[A-Za-z]*\)$/\1/p' "$ROOT/docs/monitoring.md" | sort)
}

@test "the PrometheusRule has the same rules" {
  diff <(sed -n '/^groups:/,$p' "$RULES") <(sed '1,/^spec:$/d' "$ROOT/monitoring/prometheus-rule.yaml" | sed 's/^  //') \
    || { echo "run \`make prometheus-rule\`"; return 1; }
  diff "$ROOT/monitoring/prometheus-rule-head.yaml" <(sed '/^spec:$/q' "$ROOT/monitoring/prometheus-rule.yaml")
}
