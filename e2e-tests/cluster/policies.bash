# The policies of deploy/ in the form that the suite runs: in Kubewarden, or registered the way its controller does it. Bash scripts
# source this file.

# The label of a namespace that selects the policies for it.
POLICIES_LABEL=e2e.container-patch.dev/policies

# Single policies: enforce.yaml with its settings changed by a jq program, for the namespaces with this label value.
# shellcheck disable=SC2016 # The variables are those of the jq programs.
declare -A VARIANTS=(
  # enforce.yaml without pin.yaml.
  [alone]='.'
  # The requester chooses the registries.
  [any-registry]='del(.registries)'
  # Nodes of two platforms.
  [two-platforms]='.platforms = ["linux/amd64", "linux/arm64"]'
  # RBAC decides who may use break-glass.
  [break-glass]='.breakGlass.rbac = true'
  # Reports are read from the namespace of the workload. Images below required/ must have one.
  [reports]='.scan.reports = [{source: "trivyOperator"}] | .overrides = [{images: ["\($registry)/required/*"], scan: (.scan + {require: true})}]'
  # New images must have run in staging for a day.
  [soak]='.rollout = {soak: {configMaps: [{namespace: "container-patch", name: "soaked-images"}], for: "24h"}}'
  # New images wait for their time in staging, which are the namespaces that end with -staging. A window has been open for an hour or two,
  # and stays open for hours.
  [rollout]='(now | gmtime | .[3]) as $hour | .rollout = {minAge: "1h", olderBuild: "warn",
      soak: {configMaps: [{namespace: "container-patch", name: "soaked-images"}], for: "20s"},
      windows: [{cron: "0 \(($hour + 23) % 24) * * *", for: "12h"}]}
    | .overrides = [{images: ["*"], namespaces: ["*-staging"], rollout: {action: "off"}}]'
  # The next window opens in eleven or twelve hours, and a freeze ends tomorrow.
  [rollout-closed]='(now | gmtime | .[3]) as $hour | .rollout = {windows: [{cron: "0 \(($hour + 12) % 24) * * *", for: "1h"}]}
    | .schedule.freezes = [{from: (now - 86400 | strftime("%Y-%m-%d")), to: (now + 86400 | strftime("%Y-%m-%d")), reason: "sale", rollouts: "deny"}]'
  # Stale images are warnings, but denied from one registry. Some images of Docker Hub are exempt.
  [strict-registry]='del(.registries) | .exempt = ["docker.io/e2e/*"] | .schedule.action = "warn" | .overrides = [{images: ["\($registry)/*"], schedule: {action: "deny"}}]'
)

# Pairs of pin.yaml and enforce.yaml, both changed by a jq program, for the namespaces with this label value.
declare -A PAIRS=(
  [shipped]='.'
  # Controllers' pods without a record are judged like those of users.
  [unrecorded-denied]='if .spec.mutating then . else .spec.settings.enforcement.unrecordedPods = "deny" end'
  # pin.yaml is in monitor mode.
  [pin-monitored]='if .spec.mutating then .spec.mode = "monitor" else . end'
  # enforce.yaml is in monitor mode.
  [enforce-monitored]='if .spec.mutating then . else .spec.mode = "monitor" end'
  # Also with the policies for Argo Rollouts.
  [rollouts]='.'
)

# policy FILE NAMESPACES [SETTINGS_JQ] [POLICY_JQ]: prints the policies in deploy/FILE.yaml as JSON, with the registries of the suite
# added to `registries`, in the mode `protect`, for namespaces with this label value.
policy() {
  # kubectl converts the YAML to JSON.
  kubectl annotate --local --filename "$ROOT/deploy/$1.yaml" --output json e2e.container-patch.dev/file="$1" \
    | jq --arg key "$POLICIES_LABEL" --arg namespaces "$2" --arg registry "$REGISTRY" \
      --arg stoppable "${STOPPABLE_REGISTRY:-}" '
      .metadata.name |= sub("^container-patch-"; "container-patch-e2e-\($namespaces)-")
      | .spec.mode = "protect"
      | .spec.namespaceSelector.matchExpressions += [{key: $key, operator: "In", values: [$namespaces]}]
      | .spec.settings |= (.registries += [$registry, $stoppable | select(. != "")] | '"${3:-.}"')
      | '"${4:-.}"
}

# write_policies: writes all policies to CLUSTER/policies.json as a List.
write_policies() {
  local pair variant
  {
    for pair in "${!PAIRS[@]}"; do
      policy pin "$pair" . "${PAIRS[$pair]}"
      policy enforce "$pair" . "${PAIRS[$pair]}"
    done
    policy custom-workloads/argo-rollouts rollouts
    for variant in "${!VARIANTS[@]}"; do
      policy enforce "$variant" "${VARIANTS[$variant]}"
    done
  } | jq -s '{apiVersion: "v1", kind: "List", items: .}' > "$CLUSTER/policies.json"
}

# apply_policies: applies the policies in CLUSTER/policies.json, and waits until Kubewarden enforces them.
apply_policies() {
  jq --arg wasm "${CLUSTER_MODULE:-}" --arg server "${CLUSTER_POLICY_SERVER:-default}" --arg run "$RUN" '.items |= map(
      .metadata.labels["e2e.container-patch.dev/run"] = $run
      | .spec.policyServer = $server
      | if $wasm == "" then . else .spec.module = $wasm end
    )' "$CLUSTER/policies.json" | kubectl apply --filename -
  kubectl wait clusteradmissionpolicies --selector "e2e.container-patch.dev/run=$RUN" \
    --for condition=PolicyUniquelyReachable --timeout 300s
}

# delete_policies: deletes the policies and namespaces that a run has created in an existing cluster.
delete_policies() {
  kubectl delete clusteradmissionpolicies,namespaces --selector "e2e.container-patch.dev/run=$RUN" --wait=false
}

# The functions below replace the controller of Kubewarden.

# write_module FILE: writes the module with the minimum of metadata that policy-server requires. In a release, `kwctl annotate` adds the
# metadata. They are a custom section of WebAssembly, with lengths in LEB128.
write_module() {
  local name=io.kubewarden.metadata metadata='{"protocolVersion":"v1","rules":[],"mutating":true}' length
  # Two bytes can encode lengths up to 16383. Padding of shorter lengths is valid.
  length=$((1 + ${#name} + ${#metadata}))
  {
    cat "$POLICY_WASM"
    printf '%b' "$(printf '\\x00\\x%02x\\x%02x\\x%02x' $((length & 127 | 128)) $((length >> 7)) "${#name}")"
    printf '%s%s' "$name" "$metadata"
  } > "$1"
}

# server_policies MODULE: converts the policies on standard input to the format in which the controller passes them to policy-server. JSON is
# valid YAML.
server_policies() {
  jq --arg wasm "$1" '[.items[] | {key: "clusterwide-\(.metadata.name)", value: (.spec | {
      module: $wasm, policyMode: .mode, allowedToMutate: .mutating, settings, timeoutEvalSeconds,
      contextAwareResources: (.contextAwareResources // []), hostCapabilities: ["*"]
    })}] | from_entries'
}

# webhooks PORT: prints the webhook configurations of the policies on standard input, for a policy-server on this port.
webhooks() {
  jq --arg url "https://127.0.0.1:$1" --arg authority "$(base64 -w0 "$CLUSTER/pki/ca.crt")" '.items |= map({
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: (if .spec.mutating then "MutatingWebhookConfiguration" else "ValidatingWebhookConfiguration" end),
      metadata: {name: "clusterwide-\(.metadata.name)"},
      webhooks: [{
        name: "clusterwide-\(.metadata.name).kubewarden.admission",
        clientConfig: {url: "\($url)/validate/clusterwide-\(.metadata.name)", caBundle: $authority},
        rules: .spec.rules, namespaceSelector: .spec.namespaceSelector, timeoutSeconds: .spec.timeoutSeconds,
        failurePolicy: (.spec.failurePolicy // "Fail"), matchPolicy: (.spec.matchPolicy // "Equivalent"),
        sideEffects: "None", admissionReviewVersions: ["v1"]
      }]
    })'
}

# start_policy_server: starts policy-server with the policies in CLUSTER/policies.json, and registers it as a webhook.
start_policy_server() {
  make_kubeconfig policy-server "$POLICY_SERVER_USER"
  make_certificate webhook /CN=policy-server extendedKeyUsage=serverAuth subjectAltName=IP:127.0.0.1
  write_module "$CLUSTER/module.wasm"
  server_policies "file://$CLUSTER/module.wasm" < "$CLUSTER/policies.json" > "$CLUSTER/policies.yml"
  jq -n --args '{insecure_sources: $ARGS.positional}' "$REGISTRY" "$PRIVATE_REGISTRY" "$UNLISTED_REGISTRY" "$STOPPABLE_REGISTRY" \
    > "$CLUSTER/sources.yml"
  mkdir "$CLUSTER/download"
  run_policy_server
  webhooks "$POLICY_SERVER_PORT" < "$CLUSTER/policies.json" | kubectl apply --filename -
}

# run_policy_server: starts policy-server with the files from `start_policy_server`, and waits until it is ready.
run_policy_server() {
  start policy-server env KUBECONFIG="$CLUSTER/policy-server.kubeconfig" DOCKER_CONFIG="$CLUSTER" HOME="$CLUSTER" \
    policy-server --addr 127.0.0.1 --port "$POLICY_SERVER_PORT" --readiness-probe-port "$READINESS_PORT" \
    --cert-file "$CLUSTER/pki/webhook.crt" --key-file "$CLUSTER/pki/webhook.key" --policies "$CLUSTER/policies.yml" \
    --sources-path "$CLUSTER/sources.yml" --policies-download-dir "$CLUSTER/download" --sigstore-cache-dir "$CLUSTER/sigstore" \
    --log-no-color
  wait_for policy-server 120 curl -sf "http://127.0.0.1:$READINESS_PORT/readiness"
}
