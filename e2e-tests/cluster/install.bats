#!/usr/bin/env bats
# The commands of docs/install.md and docs/tutorial.md work in a real control plane, and print what is shown there.
#
# Each `console` block with the comment `<!-- tested by: e2e-tests/cluster/install.bats -->` runs, in the order of the page and in one
# folder, which has deploy/ as a release has it. A line with `$ ` is a command, and its output follows; without such a line, every line is a
# command. In the shown output, `…` stands for any text, and lines may be left out. Dates, digests and generated names are not compared.
# A `yaml` block that begins with `# NAME.yaml` is that file. The registry on loopback stands for registry.example.com, and for Docker Hub's
# busybox.
#
# The policies are objects in the API server, as in a cluster with Kubewarden. `reconcile` does what Kubewarden's controller does when they
# change, after each command.

load helpers
load ../shown_output

CONTAINER_PATCH="${CONTAINER_PATCH:-$ROOT/target/debug/container-patch}"
MARK="<!-- tested by: e2e-tests/cluster/install.bats -->"

setup_file() {
  [ -n "${OWN_CONTROL_PLANE:-}" ] || return 0
  export SERVER_PORT READY_PORT SERVER="$BATS_FILE_TMPDIR/server"
  SERVER_PORT="$(free_port)"
  READY_PORT="$(free_port)"
  mkdir -p "$SERVER" "$BATS_FILE_TMPDIR/bin"
  kubectl apply --filename - > /dev/null <<< "$POLICY_DEFINITION"
  wait_until 30 kubectl get clusteradmissionpolicies
  push_image shop/web 1.4 "$(ago 3)" > /dev/null
  # A tag that is pushed again.
  push_image shop/cart 2 "$(ago 142)" > "$BATS_FILE_TMPDIR/old-cart"
  push_image shop/cart 2 "$(ago 3)" > /dev/null
  push_image shop/cart 1.9 "$(ago 150)" > /dev/null
  push_image shop/report 3 "$(ago 80)" > /dev/null
  push_image library/busybox 1.31 2020-01-01T00:00:00Z > /dev/null

  # The programs that the pages use. No kubelet runs, so `kubectl logs` prints the log of policy-server from its file.
  cat > "$BATS_FILE_TMPDIR/bin/kubectl" <<EOF2
#!/bin/sh
if [ "\$1" = logs ]; then exec cat "$CLUSTER/pages-server.log"; fi
exec "$(command -v kubectl)" "\$@"
EOF2
  printf '#!/bin/sh\nexec "%s" "$@"\n' "$(realpath "$CONTAINER_PATCH")" > "$BATS_FILE_TMPDIR/bin/container-patch"
  chmod +x "$BATS_FILE_TMPDIR"/bin/*
}

setup() {
  local file
  own_control_plane "this test registers webhooks for all namespaces"
  [ -x "$CONTAINER_PATCH" ] || skip "container-patch is not built: run \`make run\`, or set CONTAINER_PATCH"
  DESK="$BATS_TEST_TMPDIR/desk"
  mkdir -p "$DESK"
  cp -r "$ROOT/deploy" "$DESK/"
  for file in "$DESK"/deploy/*.yaml; do
    here < "$file" > "$BATS_TEST_TMPDIR/here.yaml"
    mv "$BATS_TEST_TMPDIR/here.yaml" "$file"
  done
  : > "$CLUSTER/pages-server.log"
}

# Other suites run in the same control plane.
teardown() {
  [ -n "${OWN_CONTROL_PLANE:-}" ] || return 0
  kubectl delete clusteradmissionpolicies --all > /dev/null
  reconcile
  kubectl delete namespaces shop container-patch-try --ignore-not-found --wait=false > /dev/null
}

teardown_file() {
  [ -n "${OWN_CONTROL_PLANE:-}" ] || return 0
  kubectl delete crd clusteradmissionpolicies.policies.kubewarden.io > /dev/null
}

# What the API server has to know of Kubewarden's policies.
POLICY_DEFINITION='{
  "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
  "metadata": {"name": "clusteradmissionpolicies.policies.kubewarden.io"},
  "spec": {
    "group": "policies.kubewarden.io", "scope": "Cluster",
    "names": {"kind": "ClusterAdmissionPolicy", "plural": "clusteradmissionpolicies", "singular": "clusteradmissionpolicy"},
    "versions": [{
      "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
      "schema": {"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
          "properties": {"policyServer": {"type": "string", "default": "default"}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
      }}},
      "additionalPrinterColumns": [
        {"name": "Policy Server", "type": "string", "jsonPath": ".spec.policyServer"},
        {"name": "Mutating", "type": "boolean", "jsonPath": ".spec.mutating"},
        {"name": "BackgroundAudit", "type": "boolean", "jsonPath": ".spec.backgroundAudit"},
        {"name": "Mode", "type": "string", "jsonPath": ".spec.mode"},
        {"name": "Observed mode", "type": "string", "jsonPath": ".status.mode"},
        {"name": "Status", "type": "string", "jsonPath": ".status.policyStatus"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
      ]
    }]
  }
}'

# reconcile: if the policies in the API server have changed, passes them to a policy-server, registers its webhooks, and writes the status
# of the policies.
reconcile() {
  local name namespace before="$SERVER/policies.json" after="$SERVER/next.json"
  # API servers before Kubernetes 1.21 do not set this label.
  for namespace in $(kubectl get namespaces --selector '!kubernetes.io/metadata.name' --output name); do
    kubectl label "$namespace" "kubernetes.io/metadata.name=${namespace#*/}" > /dev/null
  done
  kubectl get clusteradmissionpolicies --output json | jq '{apiVersion: "v1", kind: "List", items: [.items[] | {metadata: {name: .metadata.name}, spec}]}' > "$after"
  if cmp --silent "$before" "$after"; then
    return 0
  fi
  kubectl delete mutatingwebhookconfigurations,validatingwebhookconfigurations --selector pages=true > /dev/null
  mv "$after" "$before"
  [ ! -e "$CLUSTER/pages-server.pid" ] || stop pages-server
  if [ "$(jq '.items | length' "$before")" -eq 0 ]; then
    return 0
  fi
  server_policies "file://$CLUSTER/module.wasm" < "$before" > "$SERVER/policies.yml"
  mkdir -p "$SERVER/download"
  start pages-server env KUBECONFIG="$CLUSTER/policy-server.kubeconfig" HOME="$CLUSTER" DOCKER_CONFIG="$CLUSTER" \
    policy-server --addr 127.0.0.1 --port "$SERVER_PORT" --readiness-probe-port "$READY_PORT" \
    --cert-file "$CLUSTER/pki/webhook.crt" --key-file "$CLUSTER/pki/webhook.key" --policies "$SERVER/policies.yml" \
    --sources-path "$CLUSTER/sources.yml" --policies-download-dir "$SERVER/download" --sigstore-cache-dir "$CLUSTER/sigstore" --log-no-color
  wait_for pages-server 120 curl -sf "http://127.0.0.1:$READY_PORT/readiness"
  webhooks "$SERVER_PORT" < "$before" | jq '.items[].metadata.labels = {pages: "true"}' | kubectl apply --filename - > /dev/null
  for name in $(jq -r '.items[].metadata.name' "$before"); do
    kubectl get clusteradmissionpolicy "$name" --output json | jq '.status = {policyStatus: "active", mode: .spec.mode, conditions:
      [("PolicyActive", "PolicyUniquelyReachable") | {type: ., status: "True", reason: "PolicyActive", message: "", lastTransitionTime: (now | todate)}]}' \
      | kubectl replace --raw "/apis/policies.kubewarden.io/v1/clusteradmissionpolicies/$name/status" --filename - > /dev/null
  done
  # The API server reads the webhooks after a moment.
  if ! wait_until 30 calls_all_policies; then
    echo "the API server does not call the webhooks of all policies"
    return 1
  fi
}

# calls_all_policies: creates a pod in the namespace of the page as a dry run, and succeeds if the API server asks each policy about it.
calls_all_policies() {
  local namespace="$NAMESPACE_OF_PAGE" before name
  kubectl get namespace "$namespace" || namespace=default
  before="$(calls)"
  kubectl run probe --namespace "$namespace" --image "$REGISTRY/shop/web:1.4" --dry-run=server
  for name in $(jq -r '.items[].metadata.name' "$SERVER/policies.json"); do
    [ "$(calls | grep "^$name ")" != "$(grep "^$name " <<< "$before")" ] || return 1
  done
}

# calls: prints how often the API server has called each policy.
calls() {
  kubectl get --raw /metrics | awk -F '[{}" ]' '
    /^apiserver_admission_webhook_admission_duration_seconds_count/ { sub(/^clusterwide-/, "", $3); sub(/[.].*/, "", $3); count[$3] += $NF }
    END { for (name in count) print name, count[name] }'
}

# steps PAGE FOLDER: writes the commands of the page that are marked for this suite to NUMBER.command, their shown output to NUMBER.out, and
# the files of the page to NUMBER.file.NAME.
steps() {
  awk -v folder="$2" -v mark="$MARK" '
    function step(kind) { return sprintf("%s/%03d.%s", folder, number, kind) }
    { match($0, /^ */); indent = RLENGTH; line = $0; sub(/^ */, "", line) }
    line == mark { is_marked = 1; next }
    line ~ /^```yaml/ { is_yaml = 1; fence = indent; next }
    is_yaml && line ~ /^# [a-z.-]*\.yaml$/ { number++; file = step("file." $2) }
    is_yaml && line ~ /^```/ { is_yaml = 0; if (file != "") close(file); file = ""; next }
    is_yaml { if (file != "") print substr($0, fence + 1) > file; next }
    line ~ /^```console/ { inside = is_marked; is_marked = 0; count = 0; fence = indent; if (inside) next }
    line ~ /^```/ && inside { inside = 0; flush_block() }
    inside { lines[++count] = substr($0, fence + 1) }
    function flush_block(  i, has_prompt, is_open) {
      for (i = 1; i <= count; i++) if (lines[i] ~ /^\$ /) has_prompt = 1
      for (i = 1; i <= count; i++) {
        if (is_open || !has_prompt || lines[i] ~ /^\$ /) {
          if (!is_open) number++
          sub(/^\$ /, "", lines[i])
          print lines[i] > step("command")
          is_open = lines[i] ~ /\\$/
        } else print lines[i] > step("out")
      }
    }' "$1"
}

# here: replaces the registries of the page on standard input by the one on loopback.
here() { sed "s#registry.example.com#$REGISTRY#g; s#docker.io/library/busybox#$REGISTRY/library/busybox#g"; }

# normalised: replaces what differs between two runs on standard input.
normalised() {
  sed -E -e "s#${REGISTRY//./\\.}/library/busybox#docker.io/library/busybox#g; s#${REGISTRY//./\\.}#registry.example.com#g" \
    -e 's#sha256:[0-9a-f]{6,}#sha256:DIGEST#g; s#sha256:DIGEST…#sha256:DIGEST#g' -e 's#[0-9]{4}-[0-9]{2}-[0-9]{2}#DATE#g' \
    -e 's#[[:space:]]+# #g; s#^ ##; s# $##'
}

# run_step COMMAND_FILE: runs a command of a page, and sets `status` and `line`, the first shown line that it did not print.
run_step() {
  status=0
  (cd "$DESK" && PATH="$BATS_FILE_TMPDIR/bin:$PATH" CONTAINER_PATCH_INSECURE_REGISTRY="$REGISTRY" bash -c "$(here < "$1")") \
    > "$1.found" 2>&1 < /dev/null || status=$?
  line="$([ ! -e "${1%.command}.out" ] || missing "${1%.command}.out" "$1.found")"
}

# prints_what_is_shown COMMAND_FILE: runs a command of a page, and succeeds if it prints what is shown.
prints_what_is_shown() {
  run_step "$1"
  [ -z "$line" ]
}

# follow PAGE NUMBER: runs the commands of a page, at least this many. Fails at the first command that fails although the page shows no output,
# or that does not print what the page shows.
follow() {
  local steps="$BATS_TEST_TMPDIR/steps" step status line
  mkdir "$steps"
  steps "$ROOT/docs/$1" "$steps"
  for step in "$steps"/*; do
    case "$step" in
      *.file.*)
        here < "$step" > "$DESK/${step##*.file.}"
        continue
        ;;
      *.command) ;;
      *) continue ;;
    esac
    if grep --quiet '^kubectl get ' "$step"; then
      # Controllers create objects a moment later.
      wait_until 20 prints_what_is_shown "$step" || true
    else
      run_step "$step"
    fi
    printf '$ %s\n%.3000s\nstatus: %s\n' "$(cat "$step")" "$(cat "$step.found")" "$status"
    if [ -n "$line" ]; then
      printf 'docs/%s shows, and it was not printed: %s\n' "$1" "$line"
      return 1
    fi
    if [ "$status" -gt 1 ] || { [ "$status" -eq 1 ] && [ ! -e "${step%.command}.out" ]; }; then
      return 1
    fi
    reconcile
  done
  [ "$(find "$steps" -name '*.found' | wc -l)" -ge "$2" ]
}

# cron_job NAME IMAGE: prints a CronJob in the newest version that the API server has. Before Kubernetes 1.21 that is v1beta1.
cron_job() {
  local version
  version="$(kubectl get --raw /apis/batch/v1 | jq -r 'if any(.resources[]; .name == "cronjobs") then "v1" else "v1beta1" end')"
  jq -n --arg version "batch/$version" --arg name "$1" --arg image "$2" '{
    apiVersion: $version, kind: "CronJob", metadata: {name: $name},
    spec: {schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {
      restartPolicy: "Never", containers: [{name: $name, image: $image}]}}}}}}'
}

@test "the commands of docs/install.md install the policies, show a first refusal, and remove the policies again" {
  NAMESPACE_OF_PAGE=container-patch-try
  follow install.md 14
  [ "$(kubectl get clusteradmissionpolicies --output name)" = "" ]
}

@test "the commands of docs/tutorial.md go from monitor to protect" {
  NAMESPACE_OF_PAGE=shop
  # The state at the end of docs/install.md.
  sed -i "s|# - $REGISTRY\$|- $REGISTRY|" "$DESK"/deploy/*.yaml
  kubectl apply --filename "$DESK/deploy/pin.yaml" --filename "$DESK/deploy/enforce.yaml"
  # A namespace that is older than the policies.
  kubectl create namespace shop
  kubectl create deployment web --namespace shop --image "$REGISTRY/shop/web:1.4"
  kubectl create deployment cart --namespace shop --image "$REGISTRY/shop/cart:2@$(cat "$BATS_FILE_TMPDIR/old-cart")"
  cron_job report "$REGISTRY/shop/report:3" | kubectl create --namespace shop --filename -
  reconcile
  follow tutorial.md 28
}
