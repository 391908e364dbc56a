#!/usr/bin/env bats
# New images must have run in staging. The record is a ConfigMap in the API server, which policy-server reads with the permissions of
# deploy/soak/reader.yaml.

load helpers

# Names that deploy/soak/reader.yaml has, too.
RECORD_NAMESPACE=container-patch
RECORD=soaked-images

setup_file() {
  source "$BATS_TEST_DIRNAME/helpers.bash"
  kubectl create namespace "$RECORD_NAMESPACE" --dry-run=client --output yaml | kubectl apply --filename - > /dev/null
}

setup() {
  own_control_plane "the ConfigMap is outside the namespaces of the run"
  kubectl delete --ignore-not-found --filename "$ROOT/deploy/soak/reader.yaml" > /dev/null
  kubectl --namespace "$RECORD_NAMESPACE" delete configmap --ignore-not-found "$RECORD" > /dev/null
  namespace soak
}

# let_read: gives policy-server the permissions, and waits until it has them.
let_read() {
  kubectl apply --filename "$ROOT/deploy/soak/reader.yaml" > /dev/null
  wait_until 20 kubectl --namespace "$RECORD_NAMESPACE" auth can-i get "configmaps/$RECORD" --as "$POLICY_SERVER_USER" --quiet
}

# hours_ago HOURS: prints the time that many hours ago.
hours_ago() { date -u -d "$1 hours ago" +%FT%TZ; }

# entry IMAGE HOURS: prints the data of a record in which the image has run for so many hours.
entry() {
  local name
  name="$(pinned "$1")"
  jq -nc --arg digest "${name#*@}" --arg since "$(hours_ago "$2")" \
    '{($digest | sub(":"; "-")): ({since: $since, where: "staging/Deployment/app"} | tojson)}'
}

# record DATA: stores the record, as `container-patch soak --apply` does, by server-side apply.
record() {
  jq -c --arg namespace "$RECORD_NAMESPACE" --arg name "$RECORD" \
    '{apiVersion: "v1", kind: "ConfigMap", metadata: {$namespace, $name}, data: .}' <<< "$1" > "$BATS_TEST_TMPDIR/record.json"
  accepted kubectl apply --server-side --force-conflicts --field-manager container-patch-soak --filename "$BATS_TEST_TMPDIR/record.json"
}

# is_admitted IMAGE: succeeds if a Deployment with this image is admitted. policy-server keeps a ConfigMap for five seconds.
is_admitted() { ann create --dry-run=server --filename - <<< "$(deployment probe "$1")"; }

@test "production takes an image after it has run in staging for the required time" {
  local image
  image="$(image app 1 3)"
  let_read
  refused not-soaked create ann "$(deployment web "$image")"
  assert_contains "$output" "ConfigMap \`container-patch/soaked-images\` does not exist"
  record "$(entry "$image" 4)"
  wait_until 10 eval '! is_admitted "$image" && [[ "$(is_admitted "$image" 2>&1)" == *"has run in staging for 4 hours"* ]]'
  refused not-soaked create ann "$(deployment web "$image")"
  assert_contains "$output" "deploy it on or after $(date -u -d "$(jq -r '.data[] | fromjson.since' "$BATS_TEST_TMPDIR/record.json") + 24 hours" +%FT%TZ)"
  assert_contains "$output" "(ConfigMap \`container-patch/soaked-images\`: \`staging/Deployment/app\`)"
  record "$(entry "$image" 25)"
  wait_until 10 is_admitted "$image"
  accepted create ann "$(deployment web "$image")"
  # The pods of the admitted workload are not judged by the record.
  accepted kubectl --namespace "$RECORD_NAMESPACE" delete configmap "$RECORD"
  wait_for_pods "$(image_of deployment web)"
  # An UPDATE that does not change the image is admitted without a record.
  accepted ann scale deployment web --replicas 2
}

@test "policy-server can read only this ConfigMap, and without the permission the message names the RBAC file" {
  local image
  image="$(image app 1 3)"
  # policy-server may have an answer from the test before.
  wait_until 10 eval '[[ "$(is_admitted "$image" 2>&1)" == *"[evidence-unavailable]"* ]]'
  refused evidence-unavailable create ann "$(deployment web "$image")"
  assert_contains "$output" "let policy-server read it, kubectl apply -f deploy/soak/reader.yaml"
  let_read
  for denied in "get configmaps/another" "list configmaps" "watch configmaps" "update configmaps/$RECORD" "get secrets"; do
    # shellcheck disable=SC2086 # Two arguments.
    run kubectl --namespace "$RECORD_NAMESPACE" auth can-i $denied --as "$POLICY_SERVER_USER"
    [ "$output" = no ]
  done
  # Who may write to the namespace of the workload does not decide about it.
  accepted ann create configmap "$RECORD" --from-literal "$(entry "$image" 100 | jq -r 'to_entries[0] | "\(.key)=\(.value)"')"
  refused not-soaked create ann "$(deployment web "$image")"
  shown ann --namespace "$RECORD_NAMESPACE" create configmap "$RECORD"
  [ "$status" -ne 0 ]
}

@test "a record of nearly 1 MiB is read" {
  local image
  image="$(image app 1 3)"
  let_read
  entry "$image" 25 | jq -c --arg since "$(hours_ago 30)" '. + ([range(0; 5400)
    | {key: ("sha256-" + (("0" * 64) + tostring)[-64:]), value: ({since: $since, where: "staging-of-a-team/Deployment/a-name-of-a-workload"} | tojson)}]
    | from_entries)' > "$BATS_TEST_TMPDIR/data.json"
  [ "$(stat -c %s "$BATS_TEST_TMPDIR/data.json")" -gt $((900 << 10)) ]
  record "$(cat "$BATS_TEST_TMPDIR/data.json")"
  wait_until 10 is_admitted "$image"
  accepted create ann "$(deployment web "$image")"
}
