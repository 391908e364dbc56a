#!/usr/bin/env bats
# container-patch check: reads manifests, prints verdicts and sets the exit code.

load helpers

# check FLAG…: runs the command with QUIET, unless the flags give settings. Host calls fail.
check() {
  local settings=(--settings-json "$QUIET")
  [[ "$*" == *--settings* ]] && settings=()
  run --separate-stderr "$CONTAINER_PATCH" check "${settings[@]}" --replay-host-capabilities-interactions "$(silence)" "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

setup() { cd "$BATS_TEST_TMPDIR"; }

pinned_pod() { printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {containers: [{name: app, image: "nginx:1@%s"}]}\n' "$1" "$DIGEST"; }
unpinned_pod() { printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {containers: [{name: app, image: nginx:1}]}\n' "$1"; }

@test "exit code 0 when everything is accepted" {
  pinned_pod a > a.yaml
  check a.yaml
  [ "$status" -eq 0 ]
  assert_contains "$output" "accepted  Pod default/a"
  assert_contains "$output" "1 object judged: 1 accepted"
}

@test "exit code 1 when something is denied, with the finding and its place" {
  { pinned_pod a; echo ---; unpinned_pod b; } > all.yaml
  check all.yaml
  [ "$status" -eq 1 ]
  assert_contains "$output" "denied    Pod default/b"
  assert_contains "$output" "all.yaml:6"
  assert_contains "$output" 'container `app`: image `nginx:1` has no digest'
  assert_contains "$output" "[unpinned-image]"
}

@test "exit code 0 when there are only warnings" {
  unpinned_pod a > a.yaml
  check a.yaml --settings-json "$(quiet '{"pinning": {"action": "warn"}}')"
  [ "$status" -eq 0 ]
  assert_contains "$output" "warned   Pod default/a"
}

@test "an invalid document is reported with its line, and the others are judged" {
  { pinned_pod a; printf -- '---\nkind: Pod\nspec: [unclosed\n---\n'; unpinned_pod b; } > all.yaml
  check all.yaml
  # A broken rule comes before a document that could not be judged.
  [ "$status" -eq 1 ]
  assert_contains "$output" "failed"
  assert_contains "$output" "invalid YAML: line 8"
  assert_contains "$output" "accepted  Pod default/a"
  assert_contains "$output" "denied    Pod default/b"
  assert_contains "$output" "2 objects judged: 1 accepted, 1 denied; 1 could not be judged"
  { pinned_pod a; printf -- '---\nkind: Pod\nspec: [unclosed\n'; } > all.yaml
  check all.yaml
  [ "$status" -eq 2 ]
}

@test "--fail-on warn sets the exit code 1 for warnings" {
  unpinned_pod a > a.yaml
  check a.yaml --settings-json "$(quiet '{"pinning": {"action": "warn"}}')" --fail-on warn
  [ "$status" -eq 1 ]
  assert_contains "$output" "warned   Pod default/a"
  pinned_pod a > a.yaml
  check a.yaml --fail-on warn
  [ "$status" -eq 0 ]
}

@test "exit code 2 when a registry does not answer, and 1 when a rule is broken, too" {
  { pinned_pod a; echo ---; pinned_pod b; } > all.yaml
  check all.yaml --settings-json '{"pinning": {"action": "deny"}, "schedule": {"maxAge": "90d"}}'
  [ "$status" -eq 2 ]
  assert_contains "$output" "failed   Pod default/a"
  assert_contains "$output" "[evidence-unavailable]"
  assert_contains "$output" "2 could not be judged"
  { pinned_pod a; echo ---; unpinned_pod b; } > all.yaml
  check all.yaml --settings-json '{"pinning": {"action": "deny"}, "schedule": {"maxAge": "90d"}}'
  [ "$status" -eq 1 ]
  assert_contains "$output" "failed   Pod default/a"
  assert_contains "$output" "denied   Pod default/b"
  # The admin lets such objects in: they are warnings here as in the cluster.
  pinned_pod a > a.yaml
  check a.yaml --settings-json '{"pinning": {"action": "deny"}, "schedule": {"maxAge": "90d"}, "enforcement": {"evidenceErrors": "warn"}}'
  [ "$status" -eq 0 ]
  assert_contains "$output" "warned   Pod default/a"
}

@test "exit code 2 for errors of every subcommand" {
  run --separate-stderr "$CONTAINER_PATCH" check
  [ "$status" -eq 2 ]
  for command in annotate "run --request-path" "schedule --settings-path"; do
    # shellcheck disable=SC2086 # A subcommand with a flag.
    run --separate-stderr "$CONTAINER_PATCH" $command missing
    [ "$status" -eq 2 ]
  done
}

@test "an empty list of kubectl has nothing to judge, and an empty file is an error" {
  printf 'apiVersion: v1\nitems: []\nkind: List\nmetadata:\n  resourceVersion: ""\n' > list.yaml
  check list.yaml
  [ "$status" -eq 0 ]
  [ "$output" = "Nothing to judge: the manifests have no objects" ]
  run --separate-stderr bash -c '"$0" check - < list.yaml' "$CONTAINER_PATCH"
  [ "$status" -eq 0 ]
  check list.yaml missing.yaml
  [ "$status" -eq 2 ]
  # The output of a command that failed must not pass.
  run --separate-stderr bash -c 'false | "$0" check -' "$CONTAINER_PATCH"
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "Error: standard input is empty"
}

@test "policies, and kinds of Kubernetes without pods, are skipped whatever they contain" {
  cat > policies.yaml <<EOF
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: latest}
spec: {rules: [{validate: {pattern: {spec: {containers: [{image: "!*:latest"}, {image: "nginx:1"}]}}}}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: x}
spec: {default: {containers: [{image: nginx}]}}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
EOF
  check policies.yaml
  [ "$status" -eq 0 ]
  assert_contains "$output" "3 skipped: 2 of kinds without pods (ClusterPolicy, CustomResourceDefinition), 1 of unknown kinds, without images (Widget)"
}

@test "documents that are not Kubernetes objects are skipped, and are errors with --strict" {
  pinned_pod a > a.yaml
  printf 'image: {repository: nginx}\n---\n- a\n---\ntext\n' > values.yaml
  check a.yaml values.yaml
  [ "$status" -eq 0 ]
  assert_contains "$output" "1 object judged: 1 accepted; 3 skipped: not Kubernetes objects"
  check a.yaml values.yaml --strict
  [ "$status" -eq 2 ]
  assert_contains "$output" 'not a Kubernetes object: `apiVersion` and `kind` are missing'
  assert_contains "$output" "3 could not be judged"
  # One of the two keys is a Kubernetes object with a mistake.
  printf 'kind: Pod\n' > kind.yaml
  check kind.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" 'invalid Kubernetes object: `apiVersion` is required'
}

@test "the Chart.yaml of Helm is skipped, and an unrendered template says how to render it" {
  mkdir -p chart/templates
  printf 'apiVersion: v2\nname: shop\nversion: 1.0.0\n' > chart/Chart.yaml
  check chart
  [ "$status" -eq 0 ]
  printf 'apiVersion: v1\nkind: Pod\n{{- if .Values.shop }}\nmetadata: {name: a}\n{{- end }}\n' > chart/templates/pod.yaml
  check --recursive chart
  [ "$status" -eq 2 ]
  assert_contains "$output" "invalid YAML: line "
  assert_contains "$output" "render templates first, as \`helm template\` does"
}

@test "a folder with manifests only in its subfolders says which flag reads them" {
  mkdir -p deep/inner bare
  pinned_pod a > deep/inner/a.yaml
  check deep
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "no objects in deep; use --recursive to read the manifests in its subfolders"
  check bare
  [ "$status" -eq 2 ]
  [[ "$stderr" != *recursive* ]]
}

@test "ignored manifests are not manifests without objects" {
  pinned_pod a > a.yaml
  check a.yaml --ignore '*.yaml'
  [ "$status" -eq 0 ]
  [ "$output" = "Nothing to judge: all manifests are ignored" ]
}

@test "objects without pods are counted as skipped" {
  { pinned_pod a; printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\n'; } > all.yaml
  check all.yaml
  [ "$status" -eq 0 ]
  assert_contains "$output" "2 skipped: of kinds without pods (ConfigMap, Service)"
}

@test "a workload of an unknown kind is denied, not skipped" {
  printf 'apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: r}\nspec: {template: {spec: {containers: [{name: a, image: nginx}]}}}\n' > r.yaml
  check r.yaml
  [ "$status" -eq 1 ]
  assert_contains "$output" "[unknown-kind]"
  check r.yaml --settings-json "$(quiet '{"customWorkloads": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "podTemplate": "/spec/template"}]}')"
  [ "$status" -eq 1 ]
  assert_contains "$output" "[forbidden-tag]"
}

@test "lists, JSON, folders and standard input are read" {
  mkdir -p folder/inner
  jq -nc '{apiVersion: "v1", kind: "List", items: [
    {apiVersion: "v1", kind: "Pod", metadata: {name: "one"}, spec: {containers: [{name: "a", image: "a:1"}]}},
    {apiVersion: "v1", kind: "Pod", metadata: {name: "two"}, spec: {containers: [{name: "a", image: "a:1"}]}}]}' > folder/list.json
  unpinned_pod inner > folder/inner/pod.yml
  echo "no manifest" > folder/notes.txt
  check folder
  [ "$status" -eq 1 ]
  assert_contains "$output" "folder/list.json:1 items[1]"
  [[ "$output" != *"default/inner"* ]]
  check --recursive folder
  assert_contains "$output" "default/inner"
  run --separate-stderr bash -c '"$0" check - --settings-json "$1" < folder/list.json' "$CONTAINER_PATCH" '{"pinning": {"templates": false, "action": "off"}, "schedule": {"action": "off"}, "baseImage": {"action": "off"}, "scan": {"action": "off"}}'
  [ "$status" -eq 0 ]
  assert_contains "$output" "<stdin>:1 items[0]"
}

@test "the output of kubectl get -o yaml is read" {
  cat > live.yaml <<EOF
apiVersion: v1
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata:
    annotations: {deployment.kubernetes.io/revision: "1"}
    creationTimestamp: "2026-11-01T10:00:00Z"
    managedFields: [{apiVersion: apps/v1, fieldsType: FieldsV1, fieldsV1: {"f:spec": {}}, manager: kubectl, operation: Update}]
    name: web
    namespace: shop
  spec: {template: {metadata: {creationTimestamp: null}, spec: {containers: [{image: "nginx:1", name: nginx, resources: {}}]}}}
  status: {availableReplicas: 1}
kind: List
metadata: {resourceVersion: ""}
EOF
  check live.yaml
  [ "$status" -eq 1 ]
  assert_contains "$output" "denied   Deployment shop/web"
}

@test "the rule rollout judges new objects, not objects that exist" {
  local closed='{"windows": [{"cron": "0 9 * * MON", "for": "1h"}]}' settings
  settings="$(quiet "{\"rollout\": $closed, \"overrides\": [{\"images\": [\"*nginx*\"], \"rollout\": $closed}]}")"
  pinned_pod web > new.yaml
  sed 's/{name: web}/{name: web, uid: 3f1c, resourceVersion: "7"}/' new.yaml > live.yaml
  codes() { jq -c '[.objects[].findings[].code]' <<< "$output"; }
  check new.yaml --settings-json "$settings" --at 2026-11-20T12:00:00Z --output json
  [ "$status" -eq 1 ]
  [ "$(codes)" = '["outside-window"]' ]
  check live.yaml --settings-json "$settings" --at 2026-11-20T12:00:00Z --output json
  [ "$status" -eq 0 ]
  [ "$(codes)" = '[]' ]
  # The other rules judge it as before.
  sed -i "s/@$DIGEST//" live.yaml
  check live.yaml --settings-json "$settings" --at 2026-11-20T12:00:00Z --output json
  [ "$status" -eq 1 ]
  [ "$(codes)" = '["unpinned-image"]' ]
}

@test "control characters of a manifest are escaped in the output" {
  printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: "evil\\e[31m\\nname"}\nspec: {containers: [{name: app, image: "nginx:1"}]}\n' > a.yaml
  check a.yaml
  [ "$status" -eq 1 ]
  [[ "$output" != *$'\e'* ]]
  assert_contains "$output" 'Pod default/evil\u{1b}[31m\nname'
}

@test "merge keys of YAML are resolved before images are judged" {
  cat > a.yaml <<EOF
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
    - &a {name: a, image: "nginx@$DIGEST"}
    - &b {<<: *a, name: b, image: "nginx:1"}
    - &c {<<: *b, name: c}
    - {<<: *c, name: d}
EOF
  check a.yaml
  [ "$status" -eq 1 ]
  assert_contains "$output" 'container `b`'
  assert_contains "$output" 'container `c`'
  assert_contains "$output" 'container `d`'
}

@test "a folder that links to itself is read once" {
  mkdir loop && ln -s . loop/self && pinned_pod a > loop/a.yaml
  check --recursive loop
  [ "$status" -eq 0 ]
  assert_contains "$output" "1 object judged"
}

@test "--output json prints verdicts, findings and a summary" {
  { unpinned_pod b; printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n'; } > all.yaml
  check all.yaml --output json
  [ "$status" -eq 1 ]
  [ "$(jq -r '.objects[0] | "\(.verdict) \(.object) \(.source) \(.findings[0].code) \(.images[0].image)"' <<< "$output")" \
    = "denied Pod default/b all.yaml:1 unpinned-image docker.io/library/nginx:1" ]
  [ "$(jq -c .summary <<< "$output")" = '{"accepted":0,"denied":1,"failed":0,"skipped":1,"warned":0}' ]
}

@test "output that is not to a terminal has no colours" {
  unpinned_pod a > a.yaml
  check a.yaml
  [[ "$output" != *$'\e'* ]]
}

@test "output to a terminal has colours, and NO_COLOR turns them off" {
  command -v script > /dev/null || skip "needs script(1)"
  unpinned_pod a > a.yaml
  local colour=$'\e'"\\[[0-9;]*m"
  run script -qec "'$CONTAINER_PATCH' check a.yaml --settings-json '$QUIET' --replay-host-capabilities-interactions '$(silence)'" /dev/null
  [[ "$output" =~ $colour ]]
  NO_COLOR=1 run script -qec "'$CONTAINER_PATCH' check a.yaml --settings-json '$QUIET' --replay-host-capabilities-interactions '$(silence)'" /dev/null
  [[ ! "$output" =~ $colour ]]
}

@test "colours can be forced, and a dumb terminal has none" {
  unpinned_pod a > a.yaml
  FORCE_COLOR=1 check a.yaml
  [[ "$output" == *$'\e['* ]]
  CLICOLOR_FORCE=1 check a.yaml
  [[ "$output" == *$'\e['* ]]
  CLICOLOR_FORCE=1 NO_COLOR=1 check a.yaml
  [[ "$output" != *$'\e['* ]]
  command -v script > /dev/null || skip "needs script(1)"
  TERM=dumb run script -qec "'$CONTAINER_PATCH' check a.yaml --settings-json '$QUIET' --replay-host-capabilities-interactions '$(silence)'" /dev/null
  [[ "$output" != *$'\e['* ]]
}

@test "a long warning is complete" {
  unpinned_pod a > a.yaml
  local reason
  reason="$(printf 'because %.0s' {1..40})"
  check a.yaml --settings-json "$(quiet "{\"exceptions\": [{\"images\": [\"*\"], \"rules\": [\"unpinned-image\"], \"until\": \"2999-01-01\", \"reason\": \"$reason\"}]}")" --output json
  [ "$(jq -r '.objects[0].warnings[0] | length' <<< "$output")" -le 256 ]
  local message
  message="$(jq -r '.objects[0].findings[0].message' <<< "$output")"
  [ "${#message}" -gt 256 ]
  check a.yaml --settings-json "$(quiet "{\"exceptions\": [{\"images\": [\"*\"], \"rules\": [\"unpinned-image\"], \"until\": \"2999-01-01\", \"reason\": \"$reason\"}]}")"
  assert_contains "$output" "$message"
}

@test "exit code 2 for a file without objects, invalid settings or a missing file" {
  : > empty.yaml
  check empty.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "no objects in empty.yaml"
  pinned_pod a > a.yaml
  check a.yaml --settings-json '{"nonsense": 1}'
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "nonsense: unknown key"
  check a.yaml missing.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" "missing.yaml"
  assert_contains "$output" "accepted  Pod default/a"
}

@test "the binary works without the files of the repository" {
  cp "$CONTAINER_PATCH" "$BATS_TEST_TMPDIR/alone"
  pinned_pod a > a.yaml
  run env -i "$BATS_TEST_TMPDIR/alone" check a.yaml --settings-json "$QUIET"
  [ "$status" -eq 0 ]
}

@test "--policy selects another module" {
  pinned_pod a > a.yaml
  check a.yaml --policy "$ROOT/policy.wasm"
  [ "$status" -eq 0 ]
  check a.yaml --policy a.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "cannot"
}

# Settings with only the rule pinning, which pins and records.
RECORD="$(quiet '{"pinning": {"action": "pin"}}')"

# check_with SETTINGS IMAGE… -- FLAG…: runs the command with a registry that has a digest for each of these images, in this order, and
# for no others.
check_with() {
  local settings="$1" session="$BATS_TEST_TMPDIR/session.yml"
  shift
  echo '[]' > "$session"
  for ((number = 1; $# > 0; number++)); do
    if [ "$1" = -- ]; then shift; break; fi
    [ "$number" -gt 1 ] || : > "$session"
    printf -- '- type: Exchange\n  request: |\n    !OciManifestDigest\n    image: %s\n' "$1" >> "$session"
    printf '  response: {type: Success, payload: %s}\n' "'{\"digest\":\"$(digest "$number")\"}'" >> "$session"
    shift
  done
  run --separate-stderr "$CONTAINER_PATCH" check --settings-json "$settings" \
    --replay-host-capabilities-interactions "$session" "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
  [ "$stderr" = "" ]
}

# digest NUMBER: prints the digest of the image with that number in check_with.
digest() { printf 'sha256:%064d' "$1"; }

# recorded: prints the records in the output, one line per object.
recorded() { jq -r '.objects[] | [.recorded[] | "\(.template) \(.container // "volume \(.volume)") \(.image)"] | join("; ")' <<< "$output"; }

# deployment [JQ]: writes a Deployment, changed by a jq program. Only one of its images has a digest.
deployment() {
  jq -n --arg digest "$DIGEST" '{apiVersion: "apps/v1", kind: "Deployment", metadata: {name: "web"}, spec: {template: {spec: {
    initContainers: [{name: "setup", image: "registry.example.com/shop/setup:1"}],
    containers: [{name: "app", image: "registry.example.com/shop/web:1"}, {name: "side", image: "nginx:1@\($digest)"}],
    volumes: [{name: "app", image: {reference: "registry.example.com/shop/data:1"}}]}}}} | '"${1:-.}" > web.json
}

@test "records that would be written are shown, and are not listed as pinned" {
  local images=(registry.example.com/shop/{setup,web,data}:1)
  deployment
  check_with "$RECORD" "${images[@]}" -- web.json
  [ "$status" -eq 0 ]
  assert_contains "$output" "accepted  Deployment default/web"
  assert_contains "$output" "would be recorded for container \`setup\`: \`${images[0]}@$(digest 1)\`"
  assert_contains "$output" "would be recorded for container \`app\`: \`${images[1]}@$(digest 2)\`"
  assert_contains "$output" "would be recorded for volume \`app\`: \`${images[2]}@$(digest 3)\`"
  [[ "$output" != *"would be pinned"* && "$output" != *recorded-at* && "$output" != *side* ]]
  check_with "$RECORD" "${images[@]}" -- web.json --output json
  [ "$(jq -c '.objects[0].pinned' <<< "$output")" = "[]" ]
  [ "$(jq -Sc '.objects[0].recorded | sort_by(.image)' <<< "$output")" = "$(jq -nSc --arg app "${images[1]}@$(digest 2)" \
    --arg setup "${images[0]}@$(digest 1)" --arg data "${images[2]}@$(digest 3)" '"/spec/template" as $template
    | [{container: null, volume: "app", image: $data, $template}, {container: "setup", volume: null, image: $setup, $template}, {container: "app", volume: null, image: $app, $template}]')" ]
}

@test "an image without a registry is recorded with its full name" {
  jq -n '{apiVersion: "batch/v1", kind: "Job", metadata: {name: "once"}, spec: {template: {spec: {containers: [{name: "recorded-at", image: "nginx"}]}}}}' > job.json
  check_with "$(quiet '{"pinning": {"action": "pin", "forbiddenTags": []}}')" docker.io/library/nginx:latest -- job.json --output json
  [ "$(recorded)" = "/spec/template recorded-at docker.io/library/nginx:latest@$(digest 1)" ]
}

@test "no records are shown for a stored workload that has them, and its digests are not looked up" {
  deployment '.spec.template.metadata.annotations = {
    "pin.container-patch.dev/setup": "registry.example.com/shop/setup:1@\($digest)",
    "pin.container-patch.dev/app": "registry.example.com/shop/web:1@\($digest)",
    "volume.pin.container-patch.dev/app": "registry.example.com/shop/data:1@\($digest)",
    "pin.container-patch.dev/recorded-at": "2026-11-20T19:08:50.123456Z"} | {apiVersion: "v1", kind: "List", items: [.]}'
  check_with "$RECORD" -- web.json --output json
  [ "$status" -eq 0 ]
  [ "$(jq -c '.objects[0] | [.verdict, .pinned, .recorded]' <<< "$output")" = '["accepted",[],[]]' ]
  # The recorded digests are judged.
  [ "$(jq -r '[.objects[0].images[].digest | values] | unique | join(" ")' <<< "$output")" = "$DIGEST" ]
  # New records are shown if records are missing or are for another image.
  jq '.items[0].spec.template.metadata.annotations |= (del(.["pin.container-patch.dev/setup"])
    | .["pin.container-patch.dev/app"] |= sub("web:1"; "web:2"))' web.json > stale.json
  check_with "$RECORD" registry.example.com/shop/{setup,web}:1 -- stale.json --output json
  [ "$(recorded | sed 's/; /\n/g' | sort)" = "/spec/template app registry.example.com/shop/web:1@$(digest 2)
/spec/template setup registry.example.com/shop/setup:1@$(digest 1)" ]
}

@test "records are shown for CronJobs, and for each template of a custom kind" {
  jq -n 'def template($image): {spec: {containers: [{name: "app", image: "registry.example.com/\($image)"}]}};
    {apiVersion: "batch/v1", kind: "CronJob", metadata: {name: "report"}, spec: {jobTemplate: {spec: {template: template("report:1")}}}},
    {apiVersion: "example.com/v1", kind: "Cluster", metadata: {name: "db"}, spec: {leader: template("leader:1"), worker: template("worker:1")}}' \
    | jq -s '{apiVersion: "v1", kind: "List", items: .}' > all.json
  local settings
  settings="$(jq -c '.customWorkloads = ["leader", "worker" | {apiVersion: "example.com/v1", kind: "Cluster", podTemplate: "/spec/\(.)"}]' <<< "$RECORD")"
  check_with "$settings" registry.example.com/{report,leader,worker}:1 -- all.json --output json
  [ "$(recorded)" = "/spec/jobTemplate/spec/template app registry.example.com/report:1@$(digest 1)
/spec/leader app registry.example.com/leader:1@$(digest 2); /spec/worker app registry.example.com/worker:1@$(digest 3)" ]
}

@test "no records are shown for pods, or with templates: false or true" {
  jq -n --arg digest "$DIGEST" '{apiVersion: "v1", kind: "Pod", spec: {containers: [{name: "app", image: "registry.example.com/shop/web:1"}]},
    metadata: {name: "web", annotations: {"pin.container-patch.dev/app": "registry.example.com/shop/web:1@\($digest)"}}}' > pod.json
  check_with "$RECORD" -- pod.json --output json
  [ "$(jq -c '.objects[0] | [.pinned, .recorded]' <<< "$output")" = "[[\"registry.example.com/shop/web:1@$DIGEST\"],[]]" ]
  deployment 'del(.spec.template.spec | .initContainers, .volumes)'
  check_with "$(jq -c '.pinning.templates = false' <<< "$RECORD")" -- web.json --output json
  [ "$(jq -c '.objects[0] | [.pinned, .recorded]' <<< "$output")" = '[[],[]]' ]
  check_with "$(jq -c '.pinning.templates = true' <<< "$RECORD")" registry.example.com/shop/web:1 -- web.json --output json
  [ "$(jq -c '.objects[0] | [.pinned, .recorded]' <<< "$output")" = "[[\"registry.example.com/shop/web:1@$(digest 1)\"],[]]" ]
}

@test "the samples can be checked without a registry, with their recorded session" {
  run --separate-stderr "$CONTAINER_PATCH" check "$ROOT/examples/shop.yaml" \
    --settings-path "$ROOT/examples/recorded/settings.yaml" \
    --replay-host-capabilities-interactions "$ROOT/examples/recorded/session.yaml" --output json
  [ "$status" -eq 1 ]
  [ "$stderr" = "" ]
  [ "$(jq -r '[.objects[] | "\(.object): \([.findings[].code | select(. != "evaluate-at-set")] | join(" "))"] | join("; ")' <<< "$output")" \
    = "ConfigMap shop/settings: ; Deployment shop/web: ; Deployment shop/cart: stale-image; CronJob shop/report: patch-due; Pod shop/shell: ; Pod shop/debug: forbidden-tag" ]
  [ "$(jq -c '[.objects[] | [(.pinned, .recorded) | length]]' <<< "$output")" = "[[0,0],[0,0],[0,0],[0,1],[1,0],[0,0]]" ]
}

@test "schedule prints patch days, deadlines and freezes" {
  cat > settings.yaml <<EOF
schedule:
  patchDays: {cron: "0 0 * * TUE#2", timeZone: Europe/Berlin}
  freezes: [{from: 2026-12-18, to: 2027-01-03, reason: year-end change freeze}]
overrides:
  - {images: ["registry.example.com/batch/*"], schedule: {maxAge: 180d}}
EOF
  run --separate-stderr "$CONTAINER_PATCH" schedule --settings-path settings.yaml --from 2026-11-20 --months 2
  [ "$status" -eq 0 ]
  # The deadline of the previous patch day is still in the future.
  assert_contains "$output" "Tue 2026-11-10 00:00      Tue 2026-11-24 00:00               2026-11-10"
  [[ "$output" != *2026-10-13* ]]
  assert_contains "$output" "Tue 2026-12-08 00:00      Mon 2027-01-04 00:00               2026-12-21  (after the freeze \`year-end change freeze\`)"
  assert_contains "$output" "Tue 2027-01-12 00:00      Tue 2027-01-26 00:00               2027-01-12"
  [[ "$output" != *2027-02-09* ]]
  assert_contains "$output" "2026-12-18 to 2027-01-03  year-end change freeze"
  assert_contains "$output" "Images of overrides[0]:"
  assert_contains "$output" "On 2026-11-20, images built before 2026-05-24 00:00 are too old."
  # A freeze postpones the deadlines of images that are over the maximum age.
  run --separate-stderr "$CONTAINER_PATCH" schedule --from 2026-12-20 --months 1 \
    --settings-json '{"schedule": {"maxAge": "90d", "freezes": [{"from": "2026-12-18", "to": "2027-01-03", "reason": "r"}]}}'
  assert_contains "$output" "On 2026-12-20, images built before 2026-09-19 00:00 are too old."
  assert_contains "$output" "On 2027-01-20, images built before 2026-10-22 00:00 are too old."
  run --separate-stderr "$CONTAINER_PATCH" schedule --from=-262143-01-01
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "for '--from <DATE>': expected a day of the years 1970 to 4900"
  run --separate-stderr "$CONTAINER_PATCH" schedule --settings-path settings.yaml --from tomorrow
  [ "$status" -eq 2 ]
  run --separate-stderr "$CONTAINER_PATCH" schedule --settings-json '{"schedule": {"maxAge": "0d"}}'
  [ "$status" -eq 2 ]
  assert_contains "$stderr" 'schedule.maxAge: `0d` is zero; write at least `1s`'
}

@test "schedule prints windows, yearly freezes and freezes without rollouts" {
  cat > settings.yaml <<EOF
schedule:
  freezes: [{from: 12-18, to: 01-03, reason: year-end change freeze, rollouts: deny}]
rollout:
  windows: [{cron: "0 9 * * MON-THU", timeZone: Europe/Berlin, for: 8h}]
overrides:
  - {images: ["registry.example.com/batch/*"], rollout: {windows: [{cron: "0 1 * * *", for: 2h}]}}
EOF
  run --separate-stderr "$CONTAINER_PATCH" schedule --settings-path settings.yaml --from 2026-12-14 --months 13 --all
  [ "$status" -eq 0 ]
  assert_contains "$output" "2026-12-18 to 2027-01-03  year-end change freeze  (no rollouts)"
  assert_contains "$output" "2027-12-18 to 2028-01-03  year-end change freeze  (no rollouts)"
  assert_contains "$output" "All windows are closed at 2026-12-14T00:00:00Z."
  assert_contains "$output" "Mon 2026-12-14 09:00      Mon 2026-12-14 17:00      Europe/Berlin"
  assert_contains "$output" "Mon 2026-12-21 09:00      Mon 2026-12-21 17:00      Europe/Berlin  (frozen: year-end change freeze)"
  assert_contains "$output" "Images of overrides[0]:"
  assert_contains "$output" "Mon 2026-12-14 01:00      Mon 2026-12-14 03:00      UTC"
  run --separate-stderr "$CONTAINER_PATCH" schedule --settings-path settings.yaml --from 2026-12-14 --months 1 --output ics
  assert_contains "$output" "SUMMARY:Rollout window (frozen: year-end change freeze)"
  run --separate-stderr "$CONTAINER_PATCH" schedule --settings-path settings.yaml --from 2026-12-20
  assert_contains "$output" "All windows are closed at 2026-12-20T00:00:00Z. At 2026-12-20T00:00:00Z, rollouts are frozen: year-end change freeze."
}

@test "warnings about valid settings are printed once, by check, run and schedule" {
  pinned_pod a > a.yaml
  pinned_pod b > b.yaml
  local settings warning
  settings="$(quiet '{"registries": ["*"]}')"
  warning='Warning: settings: registries[0]: `*` matches every host'
  check a.yaml b.yaml --settings-json "$settings"
  [ "$status" -eq 0 ]
  [ "$(grep -cF "$warning" <<< "$stderr")" -eq 1 ]
  run --separate-stderr "$CONTAINER_PATCH" run --settings-json "$settings" --request-path "$(request v1 Pod "$(pod "nginx:1@$DIGEST")")"
  [ "$status" -eq 0 ]
  [ "$(grep -cF "$warning" <<< "$stderr")" -eq 1 ]
  run --separate-stderr "$CONTAINER_PATCH" schedule --settings-json "$settings"
  [ "$status" -eq 0 ]
  [ "$(grep -cF "$warning" <<< "$stderr")" -eq 1 ]
  [[ "$output" != *Warning* ]]
}
