# Shared by the suites for a real control plane. `run` starts the programs, and sets environment variables for their addresses.

bats_require_minimum_version 1.7.0

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
source "$ROOT/hack/registry.bash"
source "$ROOT/e2e-tests/cluster/control-plane.bash"
source "$ROOT/e2e-tests/cluster/policies.bash"

if [ -z "${CLUSTER:-}" ]; then
  echo "Error: there is no cluster; run these tests by \`make e2e-cluster\`" >&2
  exit 1
fi

# ago DAYS: prints the time that many days ago. The policies accept images up to 90 days old, and warn from the 77th day on.
ago() { date -u -d "$1 days ago" +%FT%TZ; }

# namespace POLICIES [END]: creates a namespace for the test with these policies (`none` for no policies), whose name has this end. Sets
# NAMESPACE. In the namespace, ann has the ClusterRole `admin`, and otto has all permissions (`*`).
namespace() {
  NAMESPACE="$RUN-$BATS_SUITE_TEST_NUMBER-$RANDOM${2:-}"
  jq -n --arg namespace "$NAMESPACE" --arg policies "$1" --arg key "$POLICIES_LABEL" --arg run "$RUN" '
    def bind($user; $role): {
      apiVersion: "rbac.authorization.k8s.io/v1", kind: "RoleBinding", metadata: {name: $user, namespace: $namespace},
      roleRef: {apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: $role},
      subjects: [{apiGroup: "rbac.authorization.k8s.io", kind: "User", name: $user}]
    };
    {apiVersion: "v1", kind: "List", items: [
      {apiVersion: "v1", kind: "Namespace", metadata: {name: $namespace, labels: {"e2e.container-patch.dev/run": $run, ($key): $policies}}},
      bind("ann"; "admin"), bind("otto"; "cluster-admin")
    ]}' | kubectl apply --filename - > /dev/null
  wait_until_judged_by "$1"
}

# judge_by POLICIES: changes the policies for the namespace of the test.
judge_by() {
  kubectl label --overwrite namespace "$NAMESPACE" "$POLICIES_LABEL=$1" > /dev/null
  wait_until_judged_by "$1"
}

# wait_until_judged_by POLICIES: waits until the policies apply to the namespace of the test, or, for `none`, until no policy does.
wait_until_judged_by() {
  local judged=is_judged
  [ "$1" != none ] || judged=is_not_judged
  if ! wait_until 30 "$judged"; then
    printf 'expected %s to be judged by the policies %s; a pod with a forbidden tag:\n' "$NAMESPACE" "$1"
    probe
    return 1
  fi
}

# is_judged, is_not_judged: succeed if a pod with a forbidden tag is refused in the namespace of the test, or accepted.
is_judged() { [[ "$(probe 2>&1)" == *"[forbidden-tag]"* ]]; }
is_not_judged() { probe; }
probe() { admin run probe --image "$REGISTRY/probe:latest" --dry-run=server; }

# image NAME TAG DAYS: pushes an image for the test that was built that many days ago, and prints its name.
image() {
  push_image "$NAMESPACE/$1" "$2" "$(ago "$3")" > /dev/null
  echo "$REGISTRY/$NAMESPACE/$1:$2"
}

# pinned IMAGE: prints the name with the current digest of its tag.
pinned() {
  local path="${1#*/}"
  curl -sf -I -H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json' \
    "http://$REGISTRY/v2/${path%:*}/manifests/${path##*:}" | tr -d '\r' | sed -n "s#^[Dd]ocker-[Cc]ontent-[Dd]igest: #$1@#p"
}

# admin, ann, otto: run kubectl in the namespace of the test, as a cluster admin and as the two users of the namespace.
admin() { kubectl --namespace "$NAMESPACE" "$@"; }
ann() { admin --as ann "$@"; }
otto() { admin --as otto "$@"; }

# own_control_plane REASON: skips the test in an existing cluster.
own_control_plane() { [ -n "${OWN_CONTROL_PLANE:-}" ] || skip "$1"; }

# shown COMMAND…: runs a command, and prints the beginning of its output, which bats shows if an assertion fails.
shown() {
  run "$@"
  # shellcheck disable=SC2154 # `run` sets them.
  printf '$ %.600s\n%.1200s\nstatus: %s\n' "$*" "$output" "$status"
}

# accepted COMMAND…: asserts that the command succeeds.
accepted() {
  shown "$@"
  [ "$status" -eq 0 ]
}

# refused CODE COMMAND…: asserts that the API server refuses the request of the command with a finding of this code.
refused() {
  local code="$1"
  shift
  shown "$@"
  [ "$status" -ne 0 ]
  assert_contains "$output" "[$code]"
}

# assert_contains TEXT PART
assert_contains() {
  if [[ "$1" != *"$2"* ]]; then
    printf 'expected to find: %s\nin:               %.1200s\n' "$2" "$1"
    return 1
  fi
}

# deployment NAME IMAGE [JQ]: prints a Deployment of one pod with this image, changed by a jq program. Pods never become ready without a
# kubelet, so a rollout does not wait for them.
deployment() {
  jq -nc --arg name "$1" --arg image "$2" '{
      apiVersion: "apps/v1", kind: "Deployment", metadata: {name: $name},
      spec: {
        replicas: 1, selector: {matchLabels: {app: $name}}, strategy: {rollingUpdate: {maxUnavailable: "100%"}},
        template: {metadata: {labels: {app: $name}}, spec: {containers: [{name: "app", image: $image}]}}
      }
    } | '"${3:-.}"
}

# create USER OBJECT: creates the object as this user. The user `kubectl` is a cluster admin without a namespace.
create() { "$1" create --filename - <<< "$2"; }

# pod NAME IMAGE: prints a Pod with this image.
pod() {
  jq -nc --arg name "$1" --arg image "$2" '{apiVersion: "v1", kind: "Pod", metadata: {name: $name}, spec: {containers: [{name: "app", image: $image}]}}'
}

# image_of RESOURCE…: prints the image of the first container in the template of a workload.
image_of() { admin get "$@" --output jsonpath='{.spec.template.spec.containers[0].image}'; }

# pod_images: prints the images of the pods in the namespace that are not being deleted, one per line.
pod_images() {
  admin get pods --output json | jq -r '[.items[] | select(.metadata.deletionTimestamp == null).spec.containers[].image] | sort | .[]'
}

# pods_are IMAGE…: succeeds if the pods in the namespace have these images.
pods_are() { [ "$(pod_images)" = "$(printf '%s\n' "$@")" ]; }

# wait_for_pods IMAGE…: waits until the pods in the namespace have these images.
wait_for_pods() {
  if ! wait_until 20 pods_are "$@"; then
    printf 'expected pods of: %s\nfound:            %s\n' "$*" "$(pod_images | paste -sd' ')"
    return 1
  fi
}

# events JQ: prints the audit events for the namespace of the test that match a condition, one per line.
events() {
  jq -c --arg namespace "$NAMESPACE" "select(.objectRef.namespace == \$namespace) | select($1)" "$CLUSTER/audit.log"
}

# event JQ: waits for such an event, and prints the last one.
event() {
  wait_until 10 has_event "$1"
  events "$1" | tail -n 1
}

# has_event JQ: succeeds if there is such an event.
has_event() { [ -n "$(events "$1")" ]; }

# annotation FILE KEY: prints the audit annotation of the policy in deploy/FILE.yaml, as shipped, from the event on standard input.
annotation() {
  jq -r --arg key "clusterwide-container-patch-e2e-shipped-$1.kubewarden.admission/$2" '.annotations[$key] // ""'
}

# stateful_set IMAGE: prints a StatefulSet `web` of two pods with this image. Updates do not reach the pods until its partition is 0.
stateful_set() {
  jq -nc --arg image "$1" '{
    apiVersion: "apps/v1", kind: "StatefulSet", metadata: {name: "web"},
    spec: {
      replicas: 2, serviceName: "web", podManagementPolicy: "Parallel", selector: {matchLabels: {app: "web"}},
      updateStrategy: {rollingUpdate: {partition: 2}},
      template: {metadata: {labels: {app: "web"}}, spec: {containers: [{name: "app", image: $image}]}}
    }}'
}

# has_replica_sets NUMBER, has_revisions NUMBER: succeed if the Deployment `web` has that many ReplicaSets, and if the namespace has that
# many ControllerRevisions.
has_replica_sets() { [ "$(admin get replicasets --selector app=web --output name | wc -l)" -eq "$1" ]; }
has_revisions() { [ "$(admin get controllerrevisions --output name | wc -l)" -eq "$1" ]; }

# pod_ids: prints the UIDs of the pods in the namespace that are not being deleted.
pod_ids() { admin get pods --output json | jq -r '[.items[] | select(.metadata.deletionTimestamp == null).metadata.uid] | sort | join(" ")'; }

# remade BEFORE: succeeds if there are as many pods as UIDs in BEFORE, and all of them are new.
remade() {
  local id now
  now="$(pod_ids)"
  [ "$(wc -w <<< "$now")" -eq "$(wc -w <<< "$1")" ] || return 1
  for id in $1; do
    [[ "$now" != *"$id"* ]] || return 1
  done
}

# remake_pods: deletes the pods, and waits until their controllers have replaced them.
remake_pods() {
  local before
  before="$(pod_ids)"
  accepted otto delete pods --all --wait=false
  wait_until 20 remade "$before"
}

# stays SECONDS COMMAND…: asserts that the command succeeds during all this time.
stays() {
  local deadline=$((SECONDS + $1))
  shift
  while [ "$SECONDS" -lt "$deadline" ]; do
    if ! "$@"; then
      printf 'did not stay so: %s\n' "$*"
      return 1
    fi
    sleep 0.3
  done
}

# forget: clears the cache of policy-server, which keeps the digests of tags for a minute.
forget() {
  if [ -n "${OWN_CONTROL_PLANE:-}" ]; then
    stop policy-server
    run_policy_server
  else
    sleep 61
  fi
}
