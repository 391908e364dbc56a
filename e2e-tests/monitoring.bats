#!/usr/bin/env bats
# The Grafana dashboard: its JSON, and its queries in a real Prometheus that scrapes the commands.

load helpers
load monitoring/pages.bash
load monitoring/prometheus.bash

DASHBOARD="$ROOT/monitoring/grafana-dashboard.json"
SAMPLE="$ROOT/examples/recorded/audit.log"

setup_file() {
  export LAB="$BATS_FILE_TMPDIR"
  export PAGES="$LAB/pages"
  mkdir "$PAGES"
  recorded > "$PAGES/recorded.om"
  "$CONTAINER_PATCH" schedule --settings-json "$(schedule_settings)" --output openmetrics > "$PAGES/schedule.om"
  policy_server_page > "$PAGES/policy-server.txt"
  kube_state_metrics_page > "$PAGES/kube-state-metrics.txt"
  report_page > "$PAGES/report.txt"
  start pages python3 "$ROOT/e2e-tests/monitoring/serve.py" "$PAGES"
  start_swarm_plugin
  start_history
  wait_until 20 test -s "$LAB/pages.log"
  past_workloads > "$LAB/past.om"
  promtool tsdb create-blocks-from openmetrics "$LAB/past.om" "$LAB/data" > "$LAB/blocks.log"
  configuration > "$LAB/prometheus.yml"
  start_prometheus
  export PROMETHEUS START="$(date +%s)"
  # What happens from here on has a sample before it.
  wait_until 20 is_scraped || { cat "$LAB"/*.log >&2; return 1; }
  policy_server_page later > "$LAB/later.txt"
  mv "$LAB/later.txt" "$PAGES/policy-server.txt"
  tail -n "+$FIRST_REFUSAL" "$SAMPLE" >> "$LAB/audit.log"
  create_service
}

teardown_file() { stop_all; }

# recorded: prints the report about the samples, with recorded answers of registries.
recorded() {
  local status=0
  "$CONTAINER_PATCH" report "$ROOT/examples/shop.yaml" --settings-path "$ROOT/examples/recorded/settings.yaml" \
    --replay-host-capabilities-interactions "$ROOT/examples/recorded/session.yaml" --output openmetrics || status=$?
  # Images of the samples break rules.
  [ "$status" -eq 1 ]
}

# schedule_settings: prints a patch schedule with a freeze that has begun.
schedule_settings() {
  jq -nc --arg from "$(date -u -d yesterday +%F)" --arg to "$(date -u -d '7 days' +%F)" \
    '{schedule: {patchDays: {cron: "0 0 * * TUE#2", timeZone: "Europe/Berlin", grace: "14d"}, freezes: [{$from, $to, reason: "year end"}]}}'
}

# start_swarm_plugin: starts the plugin without an engine, and asks it about a service.
start_swarm_plugin() {
  export SWARM="127.0.0.1:$(free_port)"
  echo 'registries: [registry.example.com]' > "$LAB/swarm.yaml"
  start swarm "$CONTAINER_PATCH" swarm-authz --socket "$LAB/plugin.sock" --settings-path "$LAB/swarm.yaml" \
    --docker-host unix:///nonexistent.sock --metrics-address "$SWARM"
  wait_until 20 grep -q '"event":"started"' "$LAB/swarm.log"
  create_service
}

# create_service: asks the Swarm plugin about a service, as the engine does.
create_service() {
  local body
  body="$(jq -nr '{Name: "web", TaskTemplate: {ContainerSpec: {Image: "elsewhere.example.com/web:1"}}} | tojson | @base64')"
  jq -n --arg body "$body" '{RequestMethod: "POST", RequestUri: "/v1.41/services/create", RequestBody: $body}' \
    | curl -sS --unix-socket "$LAB/plugin.sock" --data-binary @- -o "$LAB/answer.json" http://plugin/AuthZPlugin.AuthZReq
}

# start_history: follows the beginning of the sample log, until the first refusal, and a line that is damaged.
start_history() {
  export HISTORY="127.0.0.1:$(free_port)" FIRST_REFUSAL
  FIRST_REFUSAL="$(grep -nm 1 '"code":46[0-9]}' "$SAMPLE" | cut -d: -f1)"
  { head -n "$((FIRST_REFUSAL - 1))" "$SAMPLE"; echo 'not an event'; } > "$LAB/audit.log"
  follow
}
follow() { start history "$CONTAINER_PATCH" history --follow --metrics-address "$HISTORY" "$LAB/audit.log"; }

# configuration: prints the configuration of a Prometheus that scrapes each second.
configuration() {
  local page
  echo "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}"
  echo "rule_files: [$ROOT/monitoring/prometheus-rules.yaml]"
  echo "scrape_configs:"
  for page in "$PAGES"/*; do
    page="${page##*/}"
    echo "- {job_name: ${page%.*}, metrics_path: /$page, static_configs: [{targets: ['127.0.0.1:$(cat "$LAB/pages.log")']}]}"
  done
  echo "- {job_name: swarm, static_configs: [{targets: ['$SWARM']}]}"
  echo "- {job_name: history, static_configs: [{targets: ['$HISTORY']}]}"
}

# is_scraped: each target has been scraped for some seconds.
is_scraped() {
  [ "$(value 'up offset 4s == 1')" = "$(grep -c job_name "$LAB/prometheus.yml")" ]
}

# run_query PLACE KIND LABEL EXPR: runs a query of the dashboard as Grafana does. Prints what is wrong with the answer.
run_query() {
  local now answer
  now="$(date +%s)"
  case "$2" in
    instant) answer="$(ask query "query=$4" "time=$now")" ;;
    range) answer="$(ask query_range "query=$4" "start=$START" "end=$now" step=1)" ;;
    values) answer="$(ask "label/$3/values" "match[]=$4")" ;;
  esac
  jq -r --arg place "$1" --arg expr "$4" '
    (.data.result? // .data // []) as $data
    | if .status != "success" then .error
      elif .warnings then .warnings[0]
      elif $data == [] then "no data"
      elif ([$data[] | objects | (.values // [.value])[][1]] | . != [] and all(. == "NaN")) then "no numbers"
      else empty end
    | "\($place): \(.)\n  \($expr)"' <<< "$answer"
}

# queries_have_data: each query of the dashboard returns data. What is wrong is in a file.
queries_have_data() {
  local place kind label expr
  jq -r -f "$ROOT/e2e-tests/monitoring/queries.jq" "$DASHBOARD" > "$LAB/queries"
  while IFS=$'\x1f' read -r place kind label expr; do
    run_query "$place" "$kind" "$label" "$expr"
  done < "$LAB/queries" > "$LAB/problems"
  [ ! -s "$LAB/problems" ]
}

# expression PANEL [REF]: prints a query of a panel, with its variables filled in.
expression() {
  jq -r -f "$ROOT/e2e-tests/monitoring/queries.jq" "$DASHBOARD" | grep -F "panel $1, query ${2:-A}"$'\x1f' | cut -d $'\x1f' -f 4
}

# total PANEL LABEL: prints the sum of the values of each series of a panel, by the value of a label, or as `all` without that label.
total() {
  local now
  now="$(date +%s)"
  # The step is the value of $__interval in queries.jq.
  ask query_range "query=$(expression "$1")" "start=$START" "end=$now" step=3 \
    | jq -c --arg name "$2" '[.data.result[] | {key: (.metric[$name] // "all"), value: ([.values[][1] | tonumber] | add)}] | from_entries'
}

@test "each query of the dashboard returns data from a real Prometheus" {
  wait_until 30 queries_have_data || { cat "$LAB/problems"; false; }
  # The figures, the panels and the annotations have at least a query each.
  [ "$(wc -l < "$LAB/queries")" -ge 40 ]
  ! grep -F '$' "$LAB/queries"
}

@test "each refusal counts once, also the first of a class, and not those before Prometheus started" {
  totals() { total "Refusals by class" error_code; }
  counted() { [ "$(totals)" = '{"461":0,"462":10,"467":0,"468":1}' ]; }
  wait_until 20 counted || { totals; false; }
}

# What refused requests in the part of the log that was appended. A dry run in it does not count.
NEW_FINDINGS='{"forbidden-tag":1,"stale-image":1,"vulnerable-image":1}'
new_findings() { total "Top findings" code; }
new_findings_are_counted() { [ "$(new_findings)" = "$NEW_FINDINGS" ]; }

@test "findings that are new in the log count once" {
  wait_until 20 new_findings_are_counted || { new_findings; false; }
}

@test "after a restart of history, no event counts twice" {
  stop history
  is_down() { [ "$(value 'up{job="history"}')" = 0 ]; }
  wait_until 20 is_down
  follow
  is_up() { [ "$(value 'min_over_time(up{job="history"}[4s])')" = 1 ]; }
  wait_until 20 is_up
  new_findings_are_counted || { new_findings; false; }
}

@test "break-glass in the log is counted, with its user" {
  local table
  table="$(ask query "query=$(expression "Break-glass by user" B)")"
  echo "$table"
  [ "$(jq -c '[.data.result[] | [.metric.user, .metric.namespace, .value[1]]]' <<< "$table")" = '[["otto","payments","1"]]' ]
  used() { [ "$(total Break-glass user)" = '{"all":1}' ]; }
  wait_until 20 used || { total Break-glass user; false; }
}

@test "the time to patch is that of the log" {
  local query
  for query in A B C D; do
    ask query "query=$(expression "Time to patch" "$query")" | jq -c '.data.result[] | [.metric.repository, .value[1]]'
  done
  [ "$(value "$(expression "Time to patch" A)")" = 3 ]
  # The rolling update of `web` took 124 seconds.
  [ "$(ask query "query=$(expression "Time to patch" B)" | jq -r '.data.result[] | select(.metric.repository | endswith("/web")).value[1] | tonumber | round')" = 124 ]
}

@test "a workload that restarts since its image changed is unhealthy" {
  unhealthy() { [ "$(value "$(expression "Unhealthy rollouts")")" = 1 ]; }
  wait_until 20 unhealthy
  [ "$(value "$(expression "Workloads whose image changed")")" = 3 ]
}

@test "an image in the report has the time that is left until its deadline" {
  local left
  left="$(value "$(expression "Images by deadline") and on (repository) container_patch_image_pods{tag=\"5\"}")"
  echo "$left seconds"
  [ "${left%.*}" -gt $((86400 + 82800)) ] && [ "${left%.*}" -le $((2 * 86400)) ]
}

# need_sdk: skips the test without Grafana's SDK. With E2E_MONITORING=required, it fails instead.
need_sdk() {
  local version
  for version in 11 12; do
    if [ ! -e "$ROOT/target/monitoring/grafana-$version/installed.txt" ]; then
      if [ "${E2E_MONITORING:-}" = required ]; then
        echo "Error: Grafana's SDK is not installed; \`hack/setup monitoring\` installs it from PyPI"
        return 1
      fi
      skip "Grafana's SDK is not installed; \`hack/setup monitoring\` installs it from PyPI"
    fi
  done
}

@test "the dashboard is what its generator writes" {
  need_sdk
  "$ROOT/target/monitoring/grafana-11/bin/python" "$ROOT/monitoring/dashboard.py" | diff - "$DASHBOARD" \
    || { echo "run \`make dashboard\`"; false; }
}

@test "the dashboard is valid by the types of Grafana 11 and 12" {
  need_sdk
  local version
  for version in 11 12; do
    "$ROOT/target/monitoring/grafana-$version/bin/python" "$ROOT/e2e-tests/monitoring/validate.py" "$DASHBOARD"
  done
}

@test "a field, a type or a value that Grafana does not know is found" {
  need_sdk
  local number=0 version change
  cd "$BATS_TEST_TMPDIR"
  for change in '.panels[0].optionz = {}' '.panels[9].options.legend.showLegend = "yes"' '.annotations.list[0].colour = "red"' \
    '.panels[9].fieldConfig.defaults.custom.drawStyle = "bar"' '.panels[9].fieldConfig.overrides[0].properties[0].id = "custom.name"' '.panels[0].links[0].targetBlank = 1' '.templating.list[1].refresh = 9'; do
    number=$((number + 1))
    jq "$change" "$DASHBOARD" > "changed-$number.json"
  done
  for version in 11 12; do
    run "$ROOT/target/monitoring/grafana-$version/bin/python" "$ROOT/e2e-tests/monitoring/validate.py" changed-*.json
    echo "$output"
    [ "$status" -eq 1 ]
    [ "$(grep -oE '^changed-[0-9]' <<< "$output" | sort -u | wc -l)" -eq "$number" ]
  done
}

@test "each panel has a description, a unit and the data source of the variable" {
  local bad
  bad="$(jq -r '
    [.panels[] | ., (.panels // [])[]]
    | (.[] | select(.type != "row")
      | select((.description // "") == "" or .datasource.uid != "${datasource}" or has("libraryPanel")
          or ([.targets[].datasource.uid] | any(. != "${datasource}"))
          or (.fieldConfig.defaults.unit == null and .type != "table"))
      | .title),
      (if (map(.id) | unique | length) == length then empty else "two panels with the same id" end)' "$DASHBOARD")"
  [ "$bad" = "" ] || { echo "$bad"; false; }
  [ "$(jq -c '[.uid, .schemaVersion]' "$DASHBOARD")" = '["container-patch",39]' ]
}

@test "the panels that need the recording rules say so" {
  [ "$(jq -r '.panels[] | select([.targets[]?.expr | test("[a-z0-9]:[a-z]")] | any).title' "$DASHBOARD")" = \
    "$(jq -r '.panels[] | select(.description // "" | contains("recording rules")).title' "$DASHBOARD")" ]
}

@test "panels do not overlap" {
  [ "$(jq '[.panels[] | ., (.panels // [])[] | .gridPos | . as $p | range($p.x; $p.x + $p.w) as $x | range($p.y; $p.y + $p.h) as $y | [$x, $y]]
    | length == (unique | length) and all(.[0] < 24)' "$DASHBOARD")" = true ]
}

@test "the links of the dashboard lead to pages of the documentation" {
  local page
  while read -r page; do
    [ -e "$ROOT/docs/$page" ] || { echo "missing: docs/$page"; return 1; }
  done < <(grep -oE '/blob/main/docs/[a-z-]+\.md' "$DASHBOARD" | sed 's#.*/docs/##' | sort -u)
}

@test "the classes of the dashboard are those of the policy" {
  [ "$(jq -r '.panels[] | select(.title == "Refusals by class").fieldConfig.overrides[].matcher.options | select(test("^[0-9]+$"))' "$DASHBOARD" | xargs)" = \
    "$(grep -rhoE '", status 46[0-9]' "$ROOT/src" | grep -oE '[0-9]+' | sort -u | xargs)" ]
}

# The tests below need programs that `hack/setup` does not install.

@test "Grafana imports the dashboard, and returns it" {
  local grafana home="" port answer
  grafana="$(command -v grafana || command -v grafana-server || true)"
  [ -n "$grafana" ] || skip "Grafana is not on the PATH"
  for home in "$(dirname "$(dirname "$(realpath "$grafana")")")" /usr/share/grafana; do
    [ ! -e "$home/conf/defaults.ini" ] || break
  done
  port="$(free_port)"
  local command=("$grafana")
  [ "${grafana##*/}" = grafana-server ] || command+=(server)
  mkdir "$LAB/grafana"
  start grafana env GF_PATHS_DATA="$LAB/grafana" GF_PATHS_LOGS="$LAB/grafana" GF_PATHS_PLUGINS="$LAB/grafana/plugins" \
    GF_PATHS_PROVISIONING="$LAB/grafana/provisioning" GF_SERVER_HTTP_ADDR=127.0.0.1 GF_SERVER_HTTP_PORT="$port" \
    GF_ANALYTICS_REPORTING_ENABLED=false GF_ANALYTICS_CHECK_FOR_UPDATES=false GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false \
    GF_PLUGINS_PREINSTALL_DISABLED=true "${command[@]}" --homepath "$home"
  api() { curl -sS --fail-with-body --user admin:admin -H 'Content-Type: application/json' "http://127.0.0.1:$port/api/$1" "${@:2}"; }
  wait_until 60 api health
  api health
  jq -n --arg url "http://$PROMETHEUS" '{name: "Prometheus", uid: "prometheus", type: "prometheus", access: "proxy", $url, isDefault: true}' \
    | api datasources --data-binary @-
  jq '{dashboard: ., overwrite: true}' "$DASHBOARD" | api dashboards/db --data-binary @-
  answer="$(api dashboards/uid/container-patch)"
  # Grafana may migrate the dashboard to a later schema.
  local contents='[.title, [.panels[] | ., (.panels // [])[] | .title], [.. | .expr? | strings], [.templating.list[].name]]'
  [ "$(jq -c ".dashboard | $contents" <<< "$answer")" = "$(jq -c "$contents" "$DASHBOARD")" ]
  # The data source answers, so the queries above are those that Grafana sends.
  answer="$(jq -n --arg expr "$(expression "Stale this week")" \
    '{from: "now-5m", to: "now", queries: [{refId: "A", datasource: {uid: "prometheus"}, $expr, instant: true}]}' | api ds/query --data-binary @-)"
  [ "$(jq '.results.A.frames | length' <<< "$answer")" -ge 1 ]
}

@test "policy-server exports the metrics of the dashboard through an OpenTelemetry collector" {
  local collector otlp_port page port
  collector="$(command -v otelcol-contrib || command -v otelcol || true)"
  [ -n "$collector" ] || skip "no OpenTelemetry collector (otelcol, otelcol-contrib) is on the PATH"
  command -v policy-server || skip "policy-server is not on the PATH"
  [ -e "$ROOT/policy.wasm" ] || skip "policy.wasm is missing; \`make policy.wasm\` builds it"
  otlp_port="$(free_port)" page="127.0.0.1:$(free_port)" port="$(free_port)"
  cat > "$LAB/collector.yaml" <<EOF
receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:$otlp_port"}}}}
exporters: {prometheus: {endpoint: "$page"}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {metrics: {receivers: [otlp], exporters: [prometheus]}}
EOF
  start collector "$collector" --config "$LAB/collector.yaml"
  (
    # shellcheck source=e2e-tests/cluster/policies.bash
    source "$ROOT/e2e-tests/cluster/policies.bash"
    POLICY_WASM="$ROOT/policy.wasm" write_module "$LAB/module.wasm"
  )
  jq -n --arg file "file://$LAB/module.wasm" '
    {module: $file, allowedToMutate: false, settings: {pinning: {action: "deny"}, schedule: {action: "off"}, baseImage: {action: "off"}, scan: {action: "off"}}}
    | {"clusterwide-container-patch-enforce": (. + {policyMode: "protect"}), "clusterwide-container-patch-try": (. + {policyMode: "monitor"})}' \
    > "$LAB/policies.yml"
  local readiness
  readiness="$(free_port)"
  start policy-server env OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:$otlp_port" OTEL_METRIC_EXPORT_INTERVAL=500 \
    policy-server --addr 127.0.0.1 --port "$port" --readiness-probe-port "$readiness" --policies "$LAB/policies.yml" \
    --policies-download-dir "$LAB" --ignore-kubernetes-connection-failure --enable-metrics
  wait_until 60 curl -sf -o "$LAB/ready" "http://127.0.0.1:$readiness/readiness"
  local policy
  for policy in validate/clusterwide-container-patch-enforce validate/clusterwide-container-patch-try audit/clusterwide-container-patch-enforce; do
    jq '{request: .}' "$(request v1 Pod "$(pod registry.example.com/web:1)")" \
      | curl -sS -H 'Content-Type: application/json' --data-binary @- -o "$LAB/answer.json" "http://127.0.0.1:$port/$policy"
  done
  # A line that has all of these parts.
  has() {
    local lines part
    lines="$(curl -sS "http://$page/metrics" | grep "^$1{")" || return 1
    for part in "${@:2}"; do
      lines="$(grep -F "$part" <<< "$lines")" || return 1
    done
  }
  has_both() {
    local name
    for name in kubewarden_policy_evaluations_total kubewarden_policy_evaluation_latency_milliseconds_bucket; do
      has "$name" 'policy_name="clusterwide-container-patch-enforce"' 'policy_mode="protect"' 'resource_namespace="shop"' 'accepted="false"' \
        'request_origin="validate"' 'error_code="461"' || return 1
      has "$name" 'policy_name="clusterwide-container-patch-try"' 'policy_mode="monitor"' 'accepted="false"' 'error_code="461"' || return 1
      has "$name" 'request_origin="audit"' || return 1
    done
  }
  wait_until 30 has_both || { curl -sS "http://$page/metrics"; false; }
}
