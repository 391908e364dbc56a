#!/usr/bin/env bats
# The manifests, the kustomizations, the Helm chart and the script `apply` in deploy/, and the
# commands of deploy/README.md, docs/helm.md and docs/air-gap.md.
# e2e-tests/cluster/deploy.bats applies them to a real API server.

load helpers
load ../hack/registry

CHART="$ROOT/deploy/helm/container-patch-policy"
# Of an API server with Kubewarden, for `helm template`.
KUBEWARDEN=(--kube-version 1.30.0 --api-versions policies.kubewarden.io/v1)

setup() {
  cd "$BATS_TEST_TMPDIR"
  cp -r "$ROOT/deploy" .
}

teardown() { stop_registry; }

# needs PROGRAM…: skips the test if a program is missing.
needs() {
  local program
  for program in "$@"; do
    command -v "$program" > /dev/null || skip "$program is not on the PATH"
  done
}

# needs_kustomize: skips the test without a kubectl that knows components.
needs_kustomize() {
  local version
  needs kubectl
  version="$(kubectl version --client --output json 2> /dev/null | jq -r '.clientVersion.minor | sub("[^0-9].*"; "")')"
  [ "$version" -ge 21 ] || skip "kubectl 1.$version does not know components; 1.21 or later does"
}

# json [FILE…]: prints the objects of manifests, or of standard input, as one JSON list, sorted by kind, name and namespace, without labels.
json() {
  local files=() file
  for file in "${@:--}"; do files+=(--filename "$file"); done
  kubectl annotate --local "${files[@]}" --output json e2e.container-patch.dev/file=x \
    | jq -s 'map(del(.metadata.labels, .metadata.annotations["e2e.container-patch.dev/file"], .metadata.creationTimestamp)
      | if .metadata.annotations == {} then del(.metadata.annotations) else . end) | sort_by(.kind, .metadata.name, .metadata.namespace)'
}

# policy NAME JQ: prints a value of the policy in the list on standard input.
policy() { jq -c --arg name "container-patch-$1" '.[] | select(.metadata.name == $name) | '"$2"; }

# yaml_block PAGE NAME: prints the `yaml` block of a page that begins with the comment `# NAME`.
yaml_block() {
  awk -v name="# $2" '/^```/ { inside = 0 } inside { print } before ~ /^```yaml/ && $0 == name { inside = 1 } { before = $0 }' "$ROOT/$1"
}

# tested_blocks PAGE: writes the console blocks of a page that this suite tests to 1.block, 2.block and so on.
tested_blocks() {
  awk '/^<!-- tested by: e2e-tests\/deploy.bats -->$/ { marked = 1; next }
    /^```console/ && marked { inside = 1; file = ++count ".block"; marked = 0; next }
    /^```/ { inside = 0 }
    inside { print > file }' "$ROOT/$1"
}

# stub_kubectl: puts a kubectl on the PATH that knows the API groups in the file `groups`, the PolicyServers in the file `servers` and the
# pods in the file `pods`, and writes its calls to the file `calls`.
stub_kubectl() {
  mkdir bin
  echo '{"kind": "APIResourceList", "resources": [{"name": "clusteradmissionpolicies", "kind": "ClusterAdmissionPolicy"}]}' > groups
  echo default > servers
  : > pods
  cat > bin/kubectl <<'STUB'
#!/usr/bin/env bash
echo "$*" >> calls
case " $* " in
  *" config current-context "*) echo kind-shop ;;
  *" get --raw "*)
    if [ ! -e groups ]; then
      echo 'Error from server (NotFound): the server could not find the requested resource' >&2
      exit 1
    fi
    cat groups
    ;;
  *" get policyservers.policies.kubewarden.io "*)
    [[ " $* " == *" $(cat servers) "* ]] || { echo 'Error from server (NotFound): policyservers "x" not found' >&2; exit 1; }
    ;;
  *" get pods "*) cat pods ;;
  *" annotate --local --kustomize "*) echo 'ClusterAdmissionPolicy|container-patch-pin||kube-system|registry.example.com' ;;
  *" annotate "*)
    for file in "$@"; do
      [[ "$file" == *.yaml ]] || continue
      printf 'ClusterAdmissionPolicy|%s|%s|kube-system kubewarden|%s\n' "$(sed -n 's/^  name: //p' "$file")" \
        "$(sed -n 's/^  policyServer: //p' "$file")" "$(sed -n '/^    registries:/,/^    [a-z]/s/^      - //p' "$file" | paste -s -d' ')"
    done
    ;;
  *" apply "*) echo "clusteradmissionpolicy.policies.kubewarden.io/container-patch-pin created" ;;
esac
STUB
  chmod +x bin/kubectl
  PATH="$PWD/bin:$PATH"
}

# fails_with LINE COMMAND…: asserts that the command prints this line and nothing else, and applies nothing.
fails_with() {
  local line="$1"
  shift
  run "$@"
  printf 'expected: %s\nfound:    %s\n' "$line" "$output"
  [ "$status" -eq 1 ]
  [ "$output" = "$line" ]
  run ! grep -q ' apply \|^apply ' calls
}

@test "apply: without Kubewarden, one line says what to install" {
  stub_kubectl
  rm groups
  fails_with "Error: Kubewarden is not installed in the cluster of the context kind-shop: it does not serve policies.kubewarden.io/v1; install it: https://docs.kubewarden.io/quick-start" \
    deploy/apply
  fails_with "Error: Kubewarden is not installed in the cluster of the context staging: it does not serve policies.kubewarden.io/v1; install it: https://docs.kubewarden.io/quick-start" \
    deploy/apply --context staging
  # Another component of Kubewarden can serve other kinds of the group.
  echo '{"kind": "APIResourceList", "resources": []}' > groups
  fails_with "Error: Kubewarden is not installed in the cluster of the context kind-shop: policies.kubewarden.io/v1 has no kind ClusterAdmissionPolicy; install it: https://docs.kubewarden.io/quick-start" \
    deploy/apply
}

@test "apply: a cluster that does not answer is not a cluster without Kubewarden" {
  stub_kubectl
  sed -i 's/Error from server (NotFound): the server could not find the requested resource/The connection to the server localhost:8080 was refused/' bin/kubectl
  rm groups
  fails_with "Error: cannot ask the cluster of the context kind-shop: The connection to the server localhost:8080 was refused" deploy/apply
}

@test "apply: a missing PolicyServer is named" {
  stub_kubectl
  echo other > servers
  fails_with 'Error: the cluster of the context kind-shop has no PolicyServer `default`, which the policy container-patch-pin needs; create it, or set spec.policyServer: https://docs.kubewarden.io/howtos/policy-servers' \
    deploy/apply
  sed -i 's/^spec:/&\n  policyServer: other/' deploy/pin.yaml deploy/enforce.yaml
  run deploy/apply
  [ "$status" -eq 0 ]
}

@test "apply: policies with different registries are not applied" {
  stub_kubectl
  sed -i '0,/^      - docker.io/s//      - registry.example.com\n&/' deploy/enforce.yaml
  run deploy/apply
  echo "$output"
  [ "$status" -eq 1 ]
  assert_contains "$output" 'the policies container-patch-pin and container-patch-enforce list different `registries`'
  run ! grep -q '^apply ' calls
}

@test "apply: both policies are applied, with all flags; every call gets the flags of the connection" {
  stub_kubectl
  run deploy/apply --dry-run=server --context staging --kubeconfig=my.config --server-side
  echo "$output"
  [ "$status" -eq 0 ]
  [ "$output" = "clusteradmissionpolicy.policies.kubewarden.io/container-patch-pin created" ]
  [ "$(grep ' apply ' calls)" = "--context=staging --kubeconfig=my.config apply --filename $PWD/deploy/pin.yaml --filename $PWD/deploy/enforce.yaml --dry-run=server --server-side" ]
  # Only reading the files does not need the cluster.
  [ "$(grep -v '^annotate ' calls | grep -cv '^--context=staging --kubeconfig=my.config ')" -eq 0 ]
}

@test "apply: registries of running pods that are not listed are a warning" {
  stub_kubectl
  cat > pods <<'PODS'
shop  nginx:1.27 registry.k8s.io/pause:3.9
shop registry.internal:5000/init:1 localhost/app
shop  ghcr.io/a/b@sha256:0000 team/app
kube-system  registry.excluded/kube-proxy
PODS
  run deploy/apply
  echo "$output"
  [ "$status" -eq 0 ]
  assert_contains "$output" 'Warning: pods run images from registries that `registries` does not list: localhost registry.internal:5000; with mode: protect, new images from them are refused'
  sed -i 's#^      - docker.io#      - registry.internal*\n      - localhost/app\n&#' deploy/pin.yaml deploy/enforce.yaml
  run deploy/apply
  [ "$output" = "clusteradmissionpolicy.policies.kubewarden.io/container-patch-pin created" ]
}

@test "apply: names of images in pods are neither control characters for the terminal nor names of files" {
  stub_kubectl
  mkdir -p 'secret.d'
  touch secret.d/key
  printf 'shop  \033]0;title\007registry.bad/app \033[2Kregistry.worse/app s*.d/*\n' > pods
  run deploy/apply
  echo "$output"
  [ "$status" -eq 0 ]
  [ "$(tr -cd '\033\007' <<< "$output")" = "" ]
  assert_contains "$output" "registry.bad"
  assert_contains "$output" "s*.d"
  [[ "$output" != *secret.d* ]]
}

@test "apply: the commands of deploy/README.md work" {
  local block
  stub_kubectl
  tested_blocks deploy/README.md
  for block in 1 2 3 4; do EDITOR=true bash -e "$block.block"; done
  [ "$(grep -c 'apply --filename .*/deploy/pin.yaml --filename .*/deploy/enforce.yaml' calls)" -eq 2 ]
  grep -qx 'apply --kustomize .' calls
  grep -qx "patch policyservers default --type merge --patch {\"spec\": {\"verificationConfig\": \"$(sed -n 's/^  name: //p' deploy/verification/release.yaml)\"}}" calls
}

@test "apply: files are not taken, and its usage is shown" {
  stub_kubectl
  run deploy/apply -f other.yaml
  [ "$status" -eq 1 ]
  assert_contains "$output" 'Error: -f: this script applies deploy/pin.yaml and deploy/enforce.yaml'
  run deploy/apply --help
  [ "$status" -eq 0 ]
  assert_contains "$output" "deploy/apply -k FOLDER"
}

@test "kustomize: the folder works with kubectl apply -f and with -k" {
  needs kubectl
  json deploy/ > files.json
  [ "$(jq -r 'map("\(.kind)/\(.metadata.name)") | join(" ")' files.json)" = "ClusterAdmissionPolicy/container-patch-enforce ClusterAdmissionPolicy/container-patch-pin" ]
  diff <(kubectl kustomize deploy/ | json) files.json
  diff <(kubectl kustomize deploy/report | json) <(json deploy/report/rbac.yaml deploy/report/pushgateway.yaml)
  diff <(kubectl kustomize deploy/soak | json) <(json deploy/soak/)
}

@test "kustomize: the kustomization in deploy/README.md changes both policies in one place" {
  needs_kustomize
  local name
  for name in kustomization.yaml settings.yaml; do yaml_block deploy/README.md "$name" > "$name"; done
  sed -i 's#^components:#  - deploy/custom-workloads/argo-rollouts.yaml\n&#' kustomization.yaml
  kubectl kustomize . > all.yaml
  json < all.yaml > all.json
  [ "$(jq -c '[.[].spec.settings.registries // empty] | unique' all.json)" = '[["registry.example.com","registry.k8s.io"]]' ]
  [ "$(policy pin '[.spec.mode, .spec.settings.platforms, .spec.settings.schedule.action]' < all.json)" = '["protect",["linux/amd64","linux/arm64"],"off"]' ]
  [ "$(policy enforce '[.spec.mode, .spec.settings.scan.reports]' < all.json)" = '["monitor",[{"namespace":"sbomscanner","source":"sbomscanner"}]]' ]
  [ "$(jq '[.[] | select(.kind == "ClusterRoleBinding")] | length' all.json)" -eq 1 ]
  "$CONTAINER_PATCH" validate --settings-path all.yaml
}

@test "kustomize: each component gives valid policies, and the modes that it describes" {
  needs_kustomize
  local component name modes
  for component in deploy/components/*; do
    name="${component##*/}"
    printf 'resources: [deploy/pin.yaml, deploy/enforce.yaml]\ncomponents: [%s]\n' "$component" > kustomization.yaml
    kubectl kustomize . > "$name.yaml"
    "$CONTAINER_PATCH" validate --settings-path "$name.yaml"
    json < "$name.yaml" > "$name.json"
    modes="$(jq -r 'map(.spec.mode) | join(" ")' "$name.json")"
    case "$name" in
      pin-only) [ "$modes" = "monitor protect" ] ;;
      warn-only)
        [ "$modes" = "protect protect" ]
        [ "$(policy enforce '.spec.settings | [.pinning.action, .schedule.action, .scan.action]' < "$name.json")" = '["warn","warn","warn"]' ]
        ;;
      protect)
        [ "$modes" = "protect protect" ]
        [ "$(policy enforce '.spec.settings | [.pinning.action, .schedule.action, .scan.action]' < "$name.json")" = '["deny","deny","deny"]' ]
        ;;
      break-glass) [ "$(jq -c 'map(.spec.settings.breakGlass.rbac)' "$name.json")" = "[true,true]" ] ;;
      *)
        [ "$modes" = "monitor monitor" ]
        [ "$(policy enforce '.spec.settings.scan.reports | length' < "$name.json")" -eq 1 ]
        [ -e "deploy/rbac/$name.yaml" ]
        ;;
    esac
  done
}

@test "the module has the same reference in all manifests" {
  local version
  version="$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)"
  run grep -rhoE '^ *module: .*' deploy --include '*.yaml' --exclude-dir air-gap --exclude-dir helm
  [ "$(sort -u <<< "$output")" = "  module: registry://ghcr.io/container-patch/policies/container-patch-policy:v$version" ]
}

# render FLAG…: renders the chart for a cluster with Kubewarden into out.yaml and out.json.
render() {
  helm template container-patch-policy "$CHART" "${KUBEWARDEN[@]}" "$@" > out.yaml
  json < out.yaml > out.json
}

@test "chart: with the default values, it is deploy/pin.yaml and deploy/enforce.yaml" {
  needs helm kubectl
  render
  diff out.json <(json deploy/pin.yaml deploy/enforce.yaml)
}

@test "chart: a scanner and break-glass by RBAC bring the permissions of deploy/rbac/" {
  needs helm kubectl
  render --set 'scan.reports[0].source=sbomscanner,scan.reports[1].source=trivyOperator,scan.reports[2].source=quay' \
    --set 'settings.overrides[0].images={*},settings.overrides[0].scan.reports[0].source=kubescape' --set breakGlass.rbac=true
  # Who is on call is a choice of the cluster.
  diff <(jq 'map(select(.kind != "ClusterAdmissionPolicy"))' out.json) \
    <(json deploy/rbac/*.yaml | jq 'map(select(.kind == "ClusterRoleBinding" and .metadata.name == "container-patch-break-glass" | not))')
  "$CONTAINER_PATCH" validate --settings-path out.yaml
}

@test "chart: each setting goes to the policy where it belongs" {
  needs helm kubectl
  yaml_block docs/helm.md values.yaml > values.yaml
  render --values values.yaml
  "$CONTAINER_PATCH" validate --settings-path out.yaml
  [ "$(policy pin '.spec.settings | [.registries, .schedule, .scan, .baseImage]' < out.json)" \
    = '[["registry.example.com","registry.k8s.io"],{"action":"off"},{"action":"off"},{"action":"off"}]' ]
  [ "$(policy pin '.spec.settings | [.breakGlass.groups, .exceptions[0].until, .overrides]' < out.json)" \
    = '[["oncall"],"2099-12-31",[{"images":["*"],"namespaces":["staging","staging-*"],"pinning":{"action":"pin","forbiddenTags":[]}}]]' ]
  [ "$(policy enforce '.spec.settings | [.registries, .schedule.maxAge, .schedule.patchDays.grace, .scan.reports[0].source, .breakGlass.groups]' < out.json)" \
    = '[["registry.example.com","registry.k8s.io"],null,"14d","sbomscanner",["oncall"]]' ]
  [ "$(policy enforce '.spec.settings | [.exceptions[0].until, .overrides[0].pinning.action, .overrides[0].scan.action]' < out.json)" \
    = '["2099-12-31","warn","warn"]' ]

  # An unquoted `off` is `false` in YAML 1.1. What is off is off in both policies; templates that are left alone still need no digest.
  printf 'settings:\n  pinning: {templates: false}\n  overrides:\n    - {images: ["*/a:*"], schedule: {action: off}}\n    - {images: ["*"], pinning: {action: off}}\n' > values.yaml
  render --values values.yaml --set pin.mode=protect --set module.digest="$DIGEST" --set policyServer.name=strict
  "$CONTAINER_PATCH" validate --settings-path out.yaml
  [ "$(policy pin '.spec.settings | [.pinning, .overrides]' < out.json)" \
    = '[{"action":"pin","templates":false},[{"images":["*/a:*"]},{"images":["*"],"pinning":{"action":"off"}}]]' ]
  [ "$(policy enforce '.spec.settings | [.pinning, .overrides]' < out.json)" \
    = '[{"action":"deny","templates":"record"},[{"images":["*/a:*"],"schedule":{"action":false}},{"images":["*"],"pinning":{"action":false}}]]' ]
  [ "$(jq -c 'map([.spec.mode, .spec.policyServer])' out.json)" = '[["monitor","strict"],["protect","strict"]]' ]
  [ "$(jq -r 'map(.spec.module) | unique[]' out.json)" = "registry://ghcr.io/container-patch/policies/container-patch-policy@$DIGEST" ]
}

@test "chart: a key without a value has its default, and a value that is needed is required" {
  needs helm kubectl
  local key
  printf '%s:\n' pin enforce schedule scan breakGlass settings extra > values.yaml
  render --values values.yaml
  diff out.json <(json deploy/pin.yaml deploy/enforce.yaml)
  for key in mode registries module policyServer namespaces timeouts; do
    run helm template x "$CHART" "${KUBEWARDEN[@]}" --set "$key=null"
    echo "$key: $output"
    [ "$status" -ne 0 ]
    assert_contains "$output" "$key"
    assert_contains "$output" "values don't meet the specifications of the schema"
  done
}

@test "chart: a value that is not valid is refused with its path" {
  needs helm
  local value
  for value in schedule.maxAge=90 mode=protekt 'scan.reports[0].source=clair' settings.rollout.minAge=soon timeouts.webhook=31 module.digest=sha256:1; do
    run helm template x "$CHART" "${KUBEWARDEN[@]}" --set "$value"
    echo "$value: $status $output"
    [ "$status" -ne 0 ]
    # Helm writes the path with dots, and since 3.18 with slashes.
    [[ "$(tr / . <<< "$output")" == *"$(sed 's/=.*//; s/\[0\]/.0/' <<< "$value")"* ]]
  done
  run helm template x "$CHART" "${KUBEWARDEN[@]}" --set registriez=a --set settings.schedule.maxAge=90d
  assert_contains "$output" registriez
  assert_contains "$output" schedule
  run helm template x "$CHART" "${KUBEWARDEN[@]}" --set timeouts.evaluation=11
  [ "$status" -ne 0 ]
  assert_contains "$output" "timeouts.evaluation: 11 seconds are more than timeouts.webhook, 10"
}

# notes FLAG…: prints the notes of the chart. `helm template` renders them in an object only.
notes() {
  rm -rf noted
  cp -r "$CHART" noted
  mv noted/templates/NOTES.txt noted/notes
  printf 'notes: {{ tpl (.Files.Get "notes") . | toJson }}\n' > noted/templates/notes.yaml
  helm template x noted "${KUBEWARDEN[@]}" --show-only templates/notes.yaml "$@" | sed -n 's/^notes: //p' | jq -r .
}

@test "chart: the notes warn if the policies judge the cluster's own pods" {
  needs helm
  run notes
  [ "$status" -eq 0 ]
  assert_contains "$output" "The policies container-patch-pin (mode monitor)"
  [[ "$output" != *WARNING* ]]
  run notes --set 'namespaces.excluded={foo}'
  [ "$(grep '^WARNING' <<< "$output")" = 'WARNING: `namespaces.excluded` lacks kube-system, so the policies judge the pods of the cluster itself. They can block a repair.
WARNING: `namespaces.excluded` lacks kubewarden, so the policies judge the pods of policy-server. They can block a repair.' ]
  run notes --set policyServer.namespace=policies
  [ "$(grep -c '^WARNING' <<< "$output")" -eq 1 ]
  assert_contains "$output" '`namespaces.excluded` lacks policies, so the policies judge the pods of policy-server.'
  run notes --set 'policyServer.namespace=kube-system,namespaces.excluded={kube-system}'
  [[ "$output" != *WARNING* ]]
  printf 'namespaces: {excluded: []}\n' > values.yaml
  run notes --values values.yaml
  [ "$(grep -c '^WARNING' <<< "$output")" -eq 2 ]
}

@test "chart: without Kubewarden, one line says what to install" {
  needs helm
  run helm template x "$CHART" --kube-version 1.30.0
  echo "$output"
  [ "$status" -ne 0 ]
  [ "$(grep -c '^Error: ' <<< "$output")" -eq 1 ]
  assert_contains "$(grep '^Error: ' <<< "$output")" \
    "Kubewarden is not installed in the cluster: it does not serve policies.kubewarden.io/v1; install it: https://docs.kubewarden.io/quick-start"
  helm template x "$CHART" --kube-version 1.30.0 --set requireKubewarden=false > out.yaml
}

@test "chart: the commands of docs/helm.md work" {
  needs helm
  tested_blocks docs/helm.md
  [ -e 4.block ]
  yaml_block docs/helm.md values.yaml > values.yaml
  # Without a cluster, `helm install` cannot be run: `helm template` reads the values in the same way.
  sed -n 's/^\$ helm install/helm template --kube-version 1.30.0 --api-versions policies.kubewarden.io\/v1/p' 1.block > install
  run bash install
  assert_contains "$(tr / . <<< "$output")" "schedule.maxAge"
  mkdir bin
  ln -s "$(realpath "$CONTAINER_PATCH")" bin/container-patch
  sed -i 's/^helm template/& --kube-version 1.30.0/' 2.block 3.block
  PATH="$PWD/bin:$PATH" bash -e 2.block
  bash -e 3.block > out.yaml
  run bash -e 4.block
  echo "$output"
  [ "$status" -eq 0 ]
  assert_contains "$output" "1 chart(s) linted, 0 chart(s) failed"
}

# verification FILE: prints the configuration in a ConfigMap of deploy/verification/.
verification() { sed '1,/verification-config: |/d; s/^    //' "deploy/verification/$1.yaml"; }

# roots_of_trust: writes a trusted_root.json with a certificate authority and a transparency log that sign nothing.
roots_of_trust() {
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=e2e -keyout ca.key -outform DER -out ca.der 2> /dev/null
  openssl ecparam -name prime256v1 -genkey -noout -out log.key
  jq -n --arg ca "$(base64 -w0 ca.der)" --arg log "$(openssl ec -in log.key -pubout -outform DER 2> /dev/null | base64 -w0)" '{
    mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    tlogs: [{baseUrl: "https://log.test", hashAlgorithm: "SHA2_256", logId: {keyId: "AAAA"},
      publicKey: {rawBytes: $log, keyDetails: "PKIX_ECDSA_P256_SHA_256", validFor: {start: "2020-01-01T00:00:00Z"}}}],
    certificateAuthorities: [{uri: "https://ca.test", subject: {organization: "e2e", commonName: "e2e"},
      certChain: {certificates: [{rawBytes: $ca}]}, validFor: {start: "2020-01-01T00:00:00Z"}}],
    ctlogs: [], timestampAuthorities: []}' > trusted_root.json
}

# push_module: pushes a module with the signature of a new key to the registry, as v0.1.0. Writes cosign.pub. Sets MODULE_DIGEST.
push_module() {
  local repository=container-patch/policies/container-patch-policy blob config payload payload_blob
  openssl ecparam -name prime256v1 -genkey -noout -out cosign.key
  openssl ec -in cosign.key -pubout -out cosign.pub 2> /dev/null
  config="$(printf '{}' | push_blob "$repository")"
  blob="$(printf '\0asm\1\0\0\0' | push_blob "$repository")"
  MODULE_DIGEST="$(jq -nc --arg c "$config" --arg l "$blob" '
    def descriptor($type): split(" ") | {mediaType: $type, digest: .[0], size: (.[1] | tonumber)};
    {schemaVersion: 2, config: ($c | descriptor("application/vnd.wasm.config.v1+json")),
      layers: [$l | descriptor("application/vnd.wasm.content.layer.v1+wasm")]}' \
    | push_manifest "$repository" v0.1.0 application/vnd.oci.image.manifest.v1+json)"
  payload="$(jq -nc --arg digest "$MODULE_DIGEST" '{critical: {identity: {"docker-reference": ""},
    image: {"docker-manifest-digest": $digest}, type: "cosign container image signature"}, optional: null}')"
  payload_blob="$(printf '%s' "$payload" | push_blob "$repository")"
  jq -nc --arg c "$config" --arg l "$payload_blob" --arg signature "$(printf '%s' "$payload" | openssl dgst -sha256 -sign cosign.key | base64 -w0)" '
    def descriptor($type): split(" ") | {mediaType: $type, digest: .[0], size: (.[1] | tonumber)};
    {schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", config: ($c | descriptor("application/vnd.oci.image.config.v1+json")),
      layers: [$l | descriptor("application/vnd.dev.cosign.simplesigning.v1+json") | .annotations = {"dev.cosignproject.cosign/signature": $signature}]}' \
    | push_manifest "$repository" "${MODULE_DIGEST/:/-}.sig" application/vnd.oci.image.manifest.v1+json > /dev/null
}

# verify CONFIGURATION REFERENCE: runs `kwctl verify` without access to Sigstore's servers.
verify() {
  jq '{mediaType: "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json", trustedRoot: .}' trusted_root.json > trust
  jq -n --arg host "$REGISTRY" '{insecure_sources: [$host]}' > sources.yml
  run timeout 60 "$KWCTL" verify --sources-path sources.yml --sigstore-trust-config trust --verification-config-path "$1" "registry://$REGISTRY/$2"
  printf 'verify %s %s: %s\n%.800s\n' "$1" "$2" "$status" "$output"
}

@test "verification: Kubewarden accepts the module of a release only with the signature that the configuration names" {
  [ -n "$KWCTL" ] || skip "kwctl is not on the PATH"
  start_registry "$BATS_TEST_TMPDIR"
  roots_of_trust
  push_module
  local module="container-patch/policies/container-patch-policy"
  # Signed with a key, and not by the release workflow.
  verification release > release.yml
  verify release.yml "$module:v0.1.0"
  [ "$status" -ne 0 ]
  # One tag, and not a prefix, which an older module with a signature also has.
  assert_contains "$output" "subject: !equal https://github.com/container-patch/container-patch-policy/.github/workflows/release.yml@refs/tags/v0.1.0"

  # The key is written into the ConfigMap with its indentation.
  sed "s/^/          /" cosign.pub > indented
  sed -i -e '/BEGIN PUBLIC KEY/{r indented
    d}' -e '/REPLACE BY\|END PUBLIC KEY/d' deploy/verification/own-key.yaml
  verification own-key > own-key.yml
  verify own-key.yml "$module:v0.1.0"
  [ "$status" -eq 0 ]
  verify own-key.yml "$module@$MODULE_DIGEST"
  [ "$status" -eq 0 ]
  # Another key.
  sed '/^      /d' own-key.yml > other.yml
  openssl ec -in log.key -pubout 2> /dev/null | sed 's/^/      /' >> other.yml
  verify other.yml "$module:v0.1.0"
  [ "$status" -ne 0 ]
  sed 's/issuer:/isuer:/' release.yml > misspelt.yml
  verify misspelt.yml "$module:v0.1.0"
  assert_contains "$output" "unknown field \`isuer\`"
}

@test "air gap: the commands of docs/air-gap.md copy the module and its signature, and the policies name the mirror" {
  needs skopeo kubectl
  local internet mirror signature module=container-patch/policies/container-patch-policy
  needs_kustomize
  mkdir internet mirror bin
  start_registry "$PWD/internet"
  internet="$REGISTRY"
  local internet_pid="$REGISTRY_PID"
  roots_of_trust
  push_module
  start_registry "$PWD/mirror"
  mirror="$REGISTRY"
  # The registries have no certificates.
  mkdir -p .config/containers
  printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$internet" "$mirror" > .config/containers/registries.conf
  printf '#!/bin/sh\nHOME="%s" exec "%s" "$@"\n' "$PWD" "$(command -v skopeo)" > bin/skopeo
  # Only `kubectl kustomize` and `kubectl annotate --local` need no cluster.
  cat > bin/kubectl <<STUB
#!/bin/sh
case " \$* " in
  *" kustomize "*|*" annotate "*) exec "$(command -v kubectl)" "\$@" ;;
  *" get --raw "*) echo '"ClusterAdmissionPolicy"' ;;
  *) echo "kubectl \$*" >> calls ;;
esac
STUB
  chmod +x bin/*
  tested_blocks docs/air-gap.md
  [ -e 7.block ]
  yaml_block docs/air-gap.md kustomization.yaml > kustomization.yaml
  sed -i "s#registry.example.com#$mirror#g; s#ghcr.io#$internet#g" ./*.block deploy/air-gap/*.yaml
  local block
  for block in {2..7}; do
    echo "block $block: $(cat "$block.block")"
    PATH="$PWD/bin:$PATH" bash -e "$block.block" >&2
    # The mirror is reached, and the internet is not, once the folders are copied.
    [ "$block" -ne 3 ] || kill "$internet_pid"
  done
  [ "$(cat digest)" = "$MODULE_DIGEST" ]
  [ "sha256:$(curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$mirror/v2/policies/container-patch-policy/manifests/v0.1.0" | sha256sum | cut -d' ' -f1)" = "$MODULE_DIGEST" ]
  assert_contains "$(cat calls)" "kubectl create configmap sigstore-trust-config --namespace kubewarden --from-file sigstore-trust-config"
  assert_contains "$(cat calls)" "kubectl apply --kustomize ."

  kubectl kustomize . > all.yaml
  json < all.yaml > all.json
  [ "$(jq -c 'map(select(.kind == "ClusterAdmissionPolicy").spec | [.module, .policyServer, .settings.registries]) | unique' all.json)" \
    = "[[\"registry://$mirror/policies/container-patch-policy@$MODULE_DIGEST\",\"container-patch\",[\"$mirror\"]]]" ]
  [ "$(jq -r '.[] | select(.kind == "PolicyServer") | [.metadata.name, .spec.verificationConfig, .spec.sigstoreTrustConfig] | join(" ")' all.json)" \
    = "container-patch container-patch-verification sigstore-trust-config" ]
  "$CONTAINER_PATCH" validate --settings-path all.yaml

  if [ -n "$KWCTL" ]; then
    { printf 'apiVersion: v1\nallOf:\n  - kind: pubKey\n    key: |\n'; sed 's/^/      /' cosign.pub; } > key.yml
    verify key.yml "policies/container-patch-policy@$MODULE_DIGEST"
    [ "$status" -eq 0 ]
  fi
}
