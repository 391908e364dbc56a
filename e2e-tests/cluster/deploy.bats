#!/usr/bin/env bats
# deploy/ in an API server without and with Kubewarden's kinds.
# KUBEWARDEN_CRDS=FOLDER has Kubewarden's CustomResourceDefinitions, so that the manifests are validated by their schemas. Without it, the
# kinds have no schema.

load helpers

setup_file() {
  [ -n "${OWN_CONTROL_PLANE:-}" ] || return 0
  # The namespaces that the manifests name.
  local namespace
  for namespace in kubewarden container-patch container-patch-audit staging; do
    printf '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "%s"}}\n' "$namespace"
  done | kubectl apply --filename - > /dev/null
}

# remove_kubewarden: removes the kinds, and the policies with them.
remove_kubewarden() {
  kubectl delete customresourcedefinitions --ignore-not-found \
    clusteradmissionpolicies.policies.kubewarden.io policyservers.policies.kubewarden.io > /dev/null
}

teardown_file() {
  [ -z "${OWN_CONTROL_PLANE:-}" ] || remove_kubewarden
}

# install_kubewarden: creates the kinds, and waits until they are served.
install_kubewarden() {
  if [ -n "${KUBEWARDEN_CRDS:-}" ]; then
    # Older API servers do not know all fields.
    kubectl apply --validate=false --filename "$KUBEWARDEN_CRDS" > /dev/null
  else
    jq -n '[["ClusterAdmissionPolicy", "clusteradmissionpolicies"], ["PolicyServer", "policyservers"]][] | {
      apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", metadata: {name: "\(.[1]).policies.kubewarden.io"},
      spec: {group: "policies.kubewarden.io", scope: "Cluster", names: {kind: .[0], plural: .[1]}, versions: [{name: "v1", served: true, storage: true,
        schema: {openAPIV3Schema: {type: "object", "x-kubernetes-preserve-unknown-fields": true}}}]}
    }' | kubectl apply --filename - > /dev/null
  fi
  wait_until 30 kubectl get clusteradmissionpolicies.policies.kubewarden.io,policyservers.policies.kubewarden.io
}

# policy_server NAME: creates a PolicyServer.
policy_server() {
  printf '{"apiVersion": "policies.kubewarden.io/v1", "kind": "PolicyServer", "metadata": {"name": "%s"}, "spec": {"image": "policy-server", "replicas": 1}}' "$1" \
    | kubectl apply --filename - > /dev/null
}

# chart: copies the chart into the folder of the test, for any version of the API server.
chart() {
  # Helm warns about a file that others may read.
  install -m 600 "$KUBECONFIG" "$BATS_TEST_TMPDIR/kubeconfig"
  export KUBECONFIG="$BATS_TEST_TMPDIR/kubeconfig"
  cp -r "$ROOT/deploy/helm/container-patch-policy" "$BATS_TEST_TMPDIR/chart"
  sed -i '/^kubeVersion:/d' "$BATS_TEST_TMPDIR/chart/Chart.yaml"
}

@test "in a cluster without Kubewarden, deploy/apply and the chart say in one line what to install" {
  own_control_plane "an existing cluster has Kubewarden"
  remove_kubewarden
  shown "$ROOT/deploy/apply"
  [ "$status" -eq 1 ]
  [ "$output" = "Error: Kubewarden is not installed in the cluster of the context e2e: it does not serve policies.kubewarden.io/v1; install it: https://docs.kubewarden.io/quick-start" ]
  if command -v helm > /dev/null; then
    chart
    shown helm install container-patch-policy "$BATS_TEST_TMPDIR/chart" --namespace kubewarden
    [ "$status" -ne 0 ]
    [ "$(wc -l <<< "$output")" -eq 1 ]
    assert_contains "$output" "Kubewarden is not installed in the cluster: it does not serve policies.kubewarden.io/v1; install it: https://docs.kubewarden.io/quick-start"
  fi
}

@test "with Kubewarden, deploy/apply applies both policies" {
  own_control_plane "it creates policies"
  install_kubewarden
  shown "$ROOT/deploy/apply"
  [ "$status" -eq 1 ]
  assert_contains "$output" 'has no PolicyServer `default`'
  policy_server default
  accepted "$ROOT/deploy/apply" --dry-run=server
  [ "$(grep -c 'created (server dry run)' <<< "$output")" -eq 2 ]
  [ "$(kubectl get clusteradmissionpolicies --output name)" = "" ]
  accepted "$ROOT/deploy/apply"
  [ "$(kubectl get clusteradmissionpolicies --output 'jsonpath={range .items[*]}{.metadata.name} {.spec.mode} {end}')" \
    = "container-patch-enforce monitor container-patch-pin monitor " ]
  accepted "$ROOT/deploy/apply"
  [ "$(grep -c unchanged <<< "$output")" -eq 2 ]
  accepted kubectl apply --filename "$ROOT/deploy/"
  accepted kubectl apply --kustomize "$ROOT/deploy/"
  kubectl delete clusteradmissionpolicies --all > /dev/null
}

@test "with Kubewarden, the API server accepts every manifest in deploy/" {
  local file version=v1
  if [ -n "${OWN_CONTROL_PLANE:-}" ]; then install_kubewarden; fi
  # Up to Kubernetes 1.20.
  [[ "$(kubectl get --raw /apis/batch/v1)" == *'"cronjobs"'* ]] || version=v1beta1
  while read -r file; do
    echo "${file#"$ROOT/"}:"
    accepted kubectl apply --dry-run=server --filename - <<< "$(sed "s#^apiVersion: batch/v1\$#apiVersion: batch/$version#" "$file")"
  done < <(find "$ROOT/deploy" -name '*.yaml' -not -path '*/helm/*' -not -path '*/components/*' -not -path '*/swarm/*' \
    -not -path '*/audit/policy.yaml' -not -path '*/air-gap/*' | sort)
  accepted kubectl apply --dry-run=server --filename "$ROOT/deploy/air-gap/policy-server.yaml"
}

@test "with Kubewarden, Helm installs the chart with a scanner, and removes everything again" {
  own_control_plane "it creates policies"
  command -v helm > /dev/null || skip "helm is not on the PATH"
  install_kubewarden
  policy_server default
  chart
  accepted helm install container-patch-policy "$BATS_TEST_TMPDIR/chart" --namespace kubewarden \
    --set 'registries={registry.example.com},scan.reports[0].source=sbomscanner,pin.mode=protect'
  assert_contains "$output" "container-patch-pin (mode protect) and container-patch-enforce (mode monitor)"
  assert_contains "$output" "--set mode=protect"
  [ "$(kubectl get clusteradmissionpolicies --output 'jsonpath={range .items[*]}{.spec.mode} {.spec.settings.registries[*]} {end}')" \
    = "monitor registry.example.com protect registry.example.com " ]
  [ "$(kubectl get clusterrolebinding container-patch-policy-sbomscanner --output 'jsonpath={.subjects[*].namespace}:{.subjects[*].name}')" \
    = "${POLICY_SERVER_USER#system:serviceaccount:}" ]
  accepted helm upgrade container-patch-policy "$BATS_TEST_TMPDIR/chart" --namespace kubewarden --reuse-values --set mode=protect
  [ "$(kubectl get clusteradmissionpolicies --output 'jsonpath={.items[*].spec.mode}')" = "protect protect" ]
  accepted helm uninstall container-patch-policy --namespace kubewarden
  [ "$(kubectl get clusteradmissionpolicies --output name)" = "" ]
  [ "$(kubectl get clusterroles --selector app.kubernetes.io/name=container-patch-policy --output name)" = "" ]
}
