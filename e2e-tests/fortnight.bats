#!/usr/bin/env bats
# A fortnight of rollouts in a cluster: from a new build through staging into production, with windows, a freeze, a fix and a rollback. The
# images are in a real registry on loopback. The test plays the API server, which has the pods of staging, the record that
# `container-patch soak` makes of them, and the reports of a scanner. Each command and each request is judged at a given time of November
# 2026. 2026-11-09 is a Monday, and Berlin is an hour ahead of UTC. `container-patch run` judges also where kwctl is installed.

load helpers
load ../hack/registry

setup() {
  cd "$BATS_TEST_TMPDIR"
  export DOCKER_CONFIG="$BATS_TEST_TMPDIR"
  echo '{}' > config.json
  mkdir cluster runs
  echo '[]' > cluster/pods.json
  AUDIT="$BATS_TEST_TMPDIR/audit.log"
  start_registry "$BATS_TEST_TMPDIR"
  "$ROOT/e2e-tests/api-server" cluster > api-server.log 2>&1 3>&- &
  API_SERVER=$!
  local tries=0
  until [ -e cluster/kubeconfig ]; do
    [ "$((tries += 1))" -lt 100 ]
    sleep 0.1
  done
  # One policy for both tiers.
  jq -n --arg registry "$REGISTRY" '{
    registries: [$registry],
    schedule: {maxAge: "90d", warnBefore: "1d", freezes: [{from: "2026-11-17", to: "2026-11-18", reason: "sale", rollouts: "deny"}]},
    scan: {maxAllowed: {critical: 0}, reports: [{source: "quay", namespace: "scanner"}]},
    rollout: {
      minAge: "1h",
      soak: {configMaps: [{namespace: "container-patch", name: "soaked-images"}], for: "24h"},
      windows: [{cron: "0 9 * * MON-THU", timeZone: "Europe/Berlin", for: "8h"}],
      olderBuild: "warn"},
    overrides: [{images: ["*"], namespaces: ["staging"], rollout: {action: "off"}}]}' > settings.json
}

teardown() {
  kill "$API_SERVER"
  stop_registry
}

# time_of DAY: prints a time such as 10T08:00 or 10T08:00:59 in full.
time_of() { date -u -d "2026-11-${1}Z" +%FT%TZ; }

# build IMAGE DAY: pushes a build, whose tag then points at it. Sets DIGESTS[IMAGE].
declare -gA DIGESTS
build() { DIGESTS[$1]="$(push_image "shop/${1%:*}" "${1#*:}" "$(time_of "$2")")"; }

# written IMAGE: prints the image as manifests have it, with its digest.
written() { echo "$REGISTRY/shop/$1@${DIGESTS[$1]}"; }

# staging_runs IMAGE SINCE: staging runs this image in a pod that has been ready since then.
staging_runs() {
  jq -n --arg image "$REGISTRY/shop/${1%:*}@${DIGESTS[$1]}" --arg since "$(time_of "$2")" '[{
      metadata: {name: "web-6d4c-x1", namespace: "staging", creationTimestamp: $since, labels: {"pod-template-hash": "6d4c"},
        ownerReferences: [{kind: "ReplicaSet", name: "web-6d4c", controller: true}]},
      status: {phase: "Running", conditions: [{type: "Ready", status: "True", lastTransitionTime: $since}],
        containerStatuses: [{name: "web", imageID: $image, ready: true, restartCount: 0, state: {running: {startedAt: $since}}}]}
    }]' > cluster/pods.json
}

RECORD=cluster/container-patch.soaked-images.json

# soak TIME: the recorder runs.
soak() {
  run --separate-stderr "$CONTAINER_PATCH" soak --namespace staging --apply --at "$1" --kubeconfig cluster/kubeconfig
  echo "$output$stderr"
  [ "$status" -eq 0 ]
}

# scanner_finds IMAGE: the scanner writes a report with a critical vulnerability.
scanner_finds() {
  jq -n --arg digest "${DIGESTS[$1]}" '{apiVersion: "secscan.quay.redhat.com/v1alpha1", kind: "ImageManifestVuln",
      metadata: {name: ($digest | sub(":"; ".")), namespace: "scanner"}, status: {lastUpdate: "2026-11-21 10:55:00.5 +0000 UTC"},
      spec: {manifest: $digest, features: [{name: "openssl", vulnerabilities: [{name: "CVE-2026-0001", severity: "Critical", fixedby: "3.0.17"}]}]}
    }' > "cluster/scanner.${DIGESTS[$1]/:/.}.json"
}

# deployment IMAGE: prints the fields of a Deployment.
deployment() {
  jq -nc --arg image "$(written "$1")" --arg name "${1%:*}" \
    '{metadata: {$name}, spec: {template: {spec: {containers: [{$name, $image}]}}}}'
}

# stored NAMESPACE IMAGE: prints the Deployment as the API server has it.
stored() {
  deployment "$2" | jq -c --arg namespace "$1" '{apiVersion: "apps/v1", kind: "Deployment"} + . | .metadata.namespace = $namespace'
}

# judge_at TIME NAMESPACE IMAGE [JQ]: judges the Deployment of this image, as an UPDATE if the namespace has one. A jq program can change
# the request. The recorder has run a minute before.
judge_at() {
  local old=null operation=CREATE name="${3%:*}" previous
  previous="runs/$2-$name.json"
  if [ -e "$previous" ]; then
    old="$(cat "$previous")" operation=UPDATE
  fi
  soak "$(date -u -d "$1 1 minute ago" +%FT%TZ)"
  jq --arg at "$1" '. + {evaluateAt: $at}' settings.json > at.json
  run --separate-stderr "$CONTAINER_PATCH" run --settings-path at.json --insecure-registry "$REGISTRY" --kubeconfig cluster/kubeconfig \
    --allow-context-aware --disable-timeout-protection \
    --request-path "$(request apps/v1 Deployment "$(deployment "$3")" ".operation = \"$operation\" | .oldObject = $old | .namespace = \"$2\"
      | .name = \"$name\" | .object.metadata.namespace = \"$2\" | ${4:-.}")"
  printf '%s %s of %s to %s\nstatus: %s\noutput: %.2000s\nstderr: %.500s\n' "$1" "$operation" "$3" "$2" "$status" "$output" "$stderr"
  [ "$status" -eq 0 ]
}

# deploy DAY NAMESPACE IMAGE [USER]: a user deploys the image. If it is admitted, the namespace runs it from then on. The event is added to
# the audit log.
deploy() {
  judge_at "$(time_of "$1")" "$2" "$3" ".userInfo.username = \"${4:-jane}\""
  audit_event "$@"
  [ "$(response .allowed)" = false ] || stored "$2" "$3" > "runs/$2-${3%:*}.json"
}

# audit_event DAY NAMESPACE IMAGE [USER]: adds the event of the request that was judged last, as the API server writes it. `evaluateAt` is
# left out, which a cluster does not have.
audit_event() {
  local verb=create
  [ ! -e "runs/$2-${3%:*}.json" ] || verb=patch
  jq -c --arg time "$(time_of "$1")" --arg namespace "$2" --arg name "${3%:*}" --arg user "${4:-jane}" --arg verb "$verb" '
    "clusterwide-container-patch-enforce.kubewarden.admission" as $webhook
    | (.auditAnnotations.findings // "[]" | fromjson | map(select(.code != "evaluate-at-set"))) as $findings
    | (.auditAnnotations | del(.findings) + (if $findings == [] then {} else {findings: ($findings | tojson)} end)
        | if $findings == [] then .verdict = "accepted" else . end) as $annotations
    | {kind: "Event", apiVersion: "audit.k8s.io/v1", level: "Metadata", stage: "ResponseComplete", $verb,
        requestURI: "/apis/apps/v1/namespaces/\($namespace)/deployments", user: {username: $user, groups: ["system:authenticated"]},
        objectRef: {resource: "deployments", $namespace, $name, apiGroup: "apps", apiVersion: "v1"},
        responseStatus: (if .allowed then {metadata: {}, code: (if $verb == "create" then 201 else 200 end)}
          else {metadata: {}, status: "Failure", message: "admission webhook \"\($webhook)\" denied the request: \(.status.message)", code: .status.code} end),
        stageTimestamp: ($time | sub("Z$"; ".000000Z")), annotations: ($annotations | with_entries(.key |= "\($webhook)/\(.)"))}' <<< "$output" >> "$AUDIT"
}

# admitted CODE…: asserts that the request is admitted with warnings of these codes.
admitted() { assert_warned evaluate-at-set "$@"; }

# refused CODE…: asserts that the request is refused with findings of these codes, each with the status 465.
refused() {
  assert_denied "$@"
  [ "$(response .status.code)" = 465 ]
}

# named CODE: prints the moment that the finding of this code names, in UTC.
named() {
  local moment
  moment="$(message | sed -n "s/.*deploy it on or after \([0-9TZ:+-]*\).*\[$1\]\$/\1/p")"
  date -u -d "${moment:?the finding $1 names no moment}" +%FT%TZ
}

# assert_held_until NAMESPACE IMAGE CODE: the request that was refused last is refused with this code until the last second before the
# moment that the finding names, and without it from that moment on. Sets MOMENT. The request at that moment is in $output.
assert_held_until() {
  MOMENT="$(named "$3")"
  cp "$RECORD" before.json
  judge_at "$(date -u -d "$MOMENT 1 second ago" +%FT%TZ)" "$1" "$2"
  assert_contains "$(message)" "[$3]"
  judge_at "$MOMENT" "$1" "$2"
  [[ "$(message)" != *"[$3]"* ]]
  cp before.json "$RECORD"
}

# passed_as_fix CODE: asserts that the audit annotation says of each finding that a fix comes in, which repairs what this code is about.
passed_as_fix() {
  [ "$(annotation findings | jq -r 'map(select(.code != "evaluate-at-set") | "\(.passed): \(.text | split(": it ") | first)") | unique[]')" \
    = "fixes: is allowed as a fix, because it replaces an image that is refused as \`$1\`" ]
}

# day TIME: prints a time as `deploy` takes it.
day() { date -u -d "$1" +%dT%T; }

@test "a fortnight: youth, staging, windows, a freeze, a fix and a rollback" {
  # Web 1.4 has run in staging since Friday the 6th. Production takes it on Monday the 9th.
  build web:1.4 02T10:00
  staging_runs web:1.4 06T10:00
  deploy 09T08:25 staging web:1.4
  admitted
  deploy 09T08:30 production web:1.4
  admitted

  # Monday, noon: a new build. Production refuses it for its youth, and because it has not run in staging. Staging takes it.
  build web:1.5 09T12:00
  deploy 09T12:05 production web:1.5
  refused too-young not-soaked
  assert_contains "$(message)" "was built 2026-11-09T12:00:00Z, and the minimum age is 1 hour; deploy it on or after 2026-11-09T13:00:00Z"
  assert_contains "$(message)" "has not run in staging, where it must run for 1 day; deploy it there first"
  assert_held_until production web:1.5 too-young
  refused not-soaked
  deploy 09T12:06 staging web:1.5
  admitted
  staging_runs web:1.5 09T12:10
  soak 2026-11-09T12:20:00Z
  [ "$(jq -r --arg key "${DIGESTS[web:1.5]/:/-}" '.data[$key]' "$RECORD")" = '{"since":"2026-11-09T12:10:00Z","where":"staging/Deployment/web"}' ]

  # Tuesday morning: it has run for 20 hours, also on another node since the night.
  soak 2026-11-10T01:00:00Z
  staging_runs web:1.5 10T01:05
  soak 2026-11-10T01:10:00Z
  deploy 10T08:10 production web:1.5
  refused not-soaked
  assert_contains "$(message)" "has run in staging for 20 hours and must run there for 1 day; deploy it on or after 2026-11-10T12:10:00Z (ConfigMap \`container-patch/soaked-images\`: \`staging/Deployment/web\`)"
  # From that moment on, production would take it.
  assert_held_until production web:1.5 not-soaked
  admitted
  # A pipeline asks the same.
  stored production web:1.5 > web.json
  pipeline() {
    run --separate-stderr "$CONTAINER_PATCH" check web.json --settings-path settings.json --insecure-registry "$REGISTRY" \
      --kubeconfig cluster/kubeconfig --at "$1" --output json
  }
  pipeline 2026-11-10T08:10:00Z
  [ "$status" -eq 1 ]
  [ "$(jq -r '[.objects[].findings[].code] | join(" ")' <<< "$output")" = not-soaked ]
  soak 2026-11-10T12:09:00Z
  pipeline "$MOMENT"
  [ "$status" -eq 0 ]
  # The team is late: the window has closed. The next morning they deploy it.
  deploy 10T20:00 production web:1.5
  refused outside-window
  assert_contains "$(message)" "is new, and the rollout windows are closed; deploy it on or after 2026-11-11T09:00:00+01:00, when the next window opens for 8 hours"
  assert_held_until production web:1.5 outside-window
  deploy "$(day "$MOMENT")" production web:1.5
  admitted

  # Friday night: 1.6 has run in staging for more than a day, and waits for Monday.
  build web:1.6 11T18:00
  deploy 11T18:05 staging web:1.6
  admitted
  staging_runs web:1.6 11T18:10
  deploy 13T22:00 production web:1.6
  refused outside-window
  assert_contains "$(message)" "deploy it on or after 2026-11-16T09:00:00+01:00, when the next window opens for 8 hours"
  assert_held_until production web:1.6 outside-window
  deploy "$(day "$MOMENT")" production web:1.6
  admitted

  # The freeze of Tuesday and Wednesday. What runs is scaled, and its pods are created again.
  build web:1.7 16T09:00
  deploy 16T09:05 staging web:1.7
  admitted
  staging_runs web:1.7 16T09:10
  deploy 17T10:00 production web:1.7
  refused rollout-freeze
  assert_contains "$(message)" "is new, and rollouts are frozen; deploy it on or after 2026-11-19T09:00:00+01:00, in the first window after the freeze \`sale\`"
  judge_at "$(time_of 17T10:01)" production web:1.6 '.object.spec.replicas = 5'
  admitted
  judge_at "$(time_of 17T23:00)" production web:1.6 '.kind = {group: "", version: "v1", kind: "Pod"} | .resource = {group: "", version: "v1", resource: "pods"}
    | .operation = "CREATE" | .oldObject = null | .userInfo.username = "system:serviceaccount:kube-system:replicaset-controller"
    | .object = {apiVersion: "v1", kind: "Pod", metadata: {name: "web-x", namespace: "production"}, spec: .object.spec.template.spec}'
  admitted
  # The freeze ends at midnight, and the window opens in the morning.
  judge_at "$(time_of 17T10:00)" production web:1.7
  MOMENT="$(named rollout-freeze)"
  judge_at 2026-11-19T07:59:59Z production web:1.7
  refused outside-window
  judge_at "$MOMENT" production web:1.7
  admitted
  [ "$MOMENT" = 2026-11-19T08:00:00Z ]
  deploy "$(day "$MOMENT")" production web:1.7
  admitted

  # Thursday afternoon: 1.7 has a fault, and they go back to 1.6, which has left staging. A warning says that it is older. An hour later
  # 1.7 comes in again.
  deploy 19T13:00 production web:1.6
  admitted older-build
  assert_contains "$(warnings)" "was built 2026-11-11T18:00:00Z and replaces a newer build of 2026-11-16T09:00:00Z"
  deploy 19T14:00 production web:1.7
  admitted

  # Saturday: a new build is refused like any other, until the scanner has found a critical vulnerability in the one that runs.
  build web:1.8 21T10:50
  deploy 21T10:52 production web:1.8
  refused outside-window too-young not-soaked
  scanner_finds web:1.7
  deploy 21T11:00 production web:1.8 otto
  admitted outside-window too-young not-soaked
  passed_as_fix vulnerable-image
  # From now on, 1.7 is refused.
  deploy 21T12:00 production web:1.7
  assert_denied vulnerable-image outside-window

  # Sunday: the cart has become stale, and a rebuild comes in at once.
  DIGESTS[cart:1]="$(push_image shop/cart 1 2026-08-20T00:00:00Z)"
  stored production cart:1 > runs/production-cart.json
  build cart:2 22T09:00
  deploy 22T09:05 production cart:2
  admitted outside-window too-young not-soaked
  passed_as_fix stale-image

  # The audit log says who deployed what, and why it was admitted.
  run --separate-stderr "$CONTAINER_PATCH" history --only passed "$AUDIT"
  [ "$status" -eq 0 ]
  assert_contains "$output" "2026-11-21T11:00:00Z  warned    otto updates Deployment production/web"
  assert_contains "$output" "warn [outside-window] passed by fixes: is allowed as a fix, because it replaces an image that is refused as \`vulnerable-image\`: it is new, and the rollout windows are closed; "
  assert_contains "$output" "is allowed as a fix, because it replaces an image that is refused as \`vulnerable-image\`: it "
  assert_contains "$output" "2 requests from 2026-11-21T11:00:00Z to 2026-11-22T09:05:00Z: 2 warned"
  run --separate-stderr "$CONTAINER_PATCH" history --output json "$AUDIT"
  [ "$status" -eq 0 ]
  [ "$stderr" = "" ]
  diff <(jq -r '.entries[] | [(.time | .[8:16]), .outcome, .status, .user, .operation, .namespace, .name, .tag,
    ([.findings[] | .code + (if .passed then "(\(.passed))" else "" end)] | join("+") | if . == "" then "-" else . end)] | join(" ")' <<< "$output") - << END
09T08:25 admitted 201 jane CREATE staging web 1.4 -
09T08:30 admitted 201 jane CREATE production web 1.4 -
09T12:05 denied 465 jane UPDATE production web 1.5 too-young+not-soaked
09T12:06 admitted 200 jane UPDATE staging web 1.5 -
10T08:10 denied 465 jane UPDATE production web 1.5 not-soaked
10T20:00 denied 465 jane UPDATE production web 1.5 outside-window
11T08:00 admitted 200 jane UPDATE production web 1.5 -
11T18:05 admitted 200 jane UPDATE staging web 1.6 -
13T22:00 denied 465 jane UPDATE production web 1.6 outside-window
16T08:00 admitted 200 jane UPDATE production web 1.6 -
16T09:05 admitted 200 jane UPDATE staging web 1.7 -
17T10:00 denied 465 jane UPDATE production web 1.7 rollout-freeze
19T08:00 admitted 200 jane UPDATE production web 1.7 -
19T13:00 warned 200 jane UPDATE production web 1.6 older-build
19T14:00 admitted 200 jane UPDATE production web 1.7 -
21T10:52 denied 465 jane UPDATE production web 1.8 outside-window+too-young+not-soaked
21T11:00 warned 200 otto UPDATE production web 1.8 outside-window(fixes)+too-young(fixes)+not-soaked(fixes)
21T12:00 denied 464 jane UPDATE production web 1.7 vulnerable-image+older-build+outside-window
22T09:05 warned 200 jane UPDATE production cart 2 outside-window(fixes)+too-young(fixes)+not-soaked(fixes)
END
}
