# Pages of metrics, in the shapes of policy-server (through an OpenTelemetry collector), kube-state-metrics and a report of a cluster. To
# be sourced by bash.

# policy_server_page [LATER]: evaluations of two policies. With LATER, more of them, and the first refusal because of break-glass.
policy_server_page() {
  local later="${1:-}" enforce monitor
  enforce='policy_name="clusterwide-container-patch-enforce",policy_mode="protect",resource_kind="Deployment",resource_namespace="shop",resource_request_operation="CREATE",mutated="false"'
  monitor='policy_name="clusterwide-container-patch-try",policy_mode="monitor",resource_kind="Pod",resource_namespace="shop",resource_request_operation="CREATE",mutated="false"'
  cat <<EOF
# TYPE kubewarden_policy_evaluations_total counter
kubewarden_policy_evaluations_total{$enforce,accepted="true",request_origin="validate"} ${later:+1}00
kubewarden_policy_evaluations_total{$enforce,accepted="false",request_origin="audit",error_code="462"} 7
kubewarden_policy_evaluations_total{$enforce,accepted="false",request_origin="validate",error_code="461"} 4
kubewarden_policy_evaluations_total{$enforce,accepted="false",request_origin="validate",error_code="462"} ${later:+1}3
kubewarden_policy_evaluations_total{$enforce,accepted="false",request_origin="validate",error_code="467"} 1
${later:+kubewarden_policy_evaluations_total{$enforce,accepted=\"false\",request_origin=\"validate\",error_code=\"468\"\} 1}
kubewarden_policy_evaluations_total{$monitor,accepted="false",request_origin="validate",error_code="464"} 2
kubewarden_policy_evaluations_total{policy_name="clusterwide-container-patch-broken",initialization_error="invalid settings"} 1
# TYPE kubewarden_policy_evaluation_latency_milliseconds histogram
kubewarden_policy_evaluation_latency_milliseconds_bucket{$enforce,accepted="true",request_origin="validate",le="5"} ${later:+1}80
kubewarden_policy_evaluation_latency_milliseconds_bucket{$enforce,accepted="true",request_origin="validate",le="50"} ${later:+1}99
kubewarden_policy_evaluation_latency_milliseconds_bucket{$enforce,accepted="true",request_origin="validate",le="+Inf"} ${later:+2}00
kubewarden_policy_evaluation_latency_milliseconds_sum{$enforce,accepted="true",request_origin="validate"} ${later:+1}900
kubewarden_policy_evaluation_latency_milliseconds_count{$enforce,accepted="true",request_origin="validate"} ${later:+2}00
EOF
}

# kube_state_metrics_page: the pod of a Deployment that runs a new image, and restarts since then.
kube_state_metrics_page() {
  local pod='namespace="shop",pod="web-7d9c5b-x2x4q",uid="9b0c6a52-4f36-4a38-8d0c-6b1c2f1a7f01"'
  cat <<EOF
kube_pod_container_info{$pod,container="app",image="registry.example.com/shop/web:1.5",image_spec="registry.example.com/shop/web:1.5",image_id="registry.example.com/shop/web@sha256:2222",container_id="containerd://22"} 1
kube_pod_container_status_restarts_total{$pod,container="app"} 3
kube_pod_container_status_waiting_reason{$pod,container="app",reason="CrashLoopBackOff"} 1
kube_pod_status_ready{$pod,condition="true"} 0
kube_pod_status_ready{$pod,condition="false"} 1
kube_pod_status_ready{$pod,condition="unknown"} 0
kube_pod_status_phase{$pod,phase="Running"} 1
kube_pod_created{$pod} $(($(date +%s) - 600))
kube_pod_owner{$pod,owner_kind="ReplicaSet",owner_name="web-7d9c5b",owner_is_controller="true"} 1
kube_replicaset_owner{namespace="shop",replicaset="web-7d9c5b",owner_kind="Deployment",owner_name="web",owner_is_controller="true"} 1
EOF
}

# past_workloads: what the recording rules wrote about that Deployment around 6 hours ago, as OpenMetrics with timestamps.
past_workloads() {
  local now workload='namespace="shop",workload_kind="Deployment",workload="web"' minute
  now="$(date +%s)"
  for series in "image_ids:info{$workload,container=\"app\",image_id=\"registry.example.com/shop/web@sha256:1111\"}" \
    "image_specs:info{$workload,container=\"app\",image_spec=\"registry.example.com/shop/web:1.4\"}"; do
    echo "# TYPE namespace_workload:container_patch_${series%%\{*} gauge"
    for minute in {370..350}; do
      echo "namespace_workload:container_patch_$series 1 $((now - minute * 60))"
    done
  done
  for series in "restarts_before:max6h{$workload} 0" "pods_waiting_before:avg6h{$workload} 0" "pods_not_ready_before:avg6h{$workload} 0"; do
    echo "# TYPE namespace_workload:container_patch_${series%%\{*} gauge"
    for minute in 2 1; do
      echo "namespace_workload:container_patch_$series $((now - minute * 60))"
    done
  done
  echo "# EOF"
}

# report_page: images of a cluster, of which one is fresh and runs, and another one has two more days.
report_page() {
  local now fresh='repository="registry.example.com/shop/api",tag="2.1",digest="sha256:aa"' due='repository="registry.example.com/shop/mail",tag="5",digest="sha256:bb"'
  now="$(date +%s)"
  cat <<EOF
container_patch_image_deadline_timestamp_seconds{$fresh} $((now + 80 * 86400))
container_patch_image_deadline_timestamp_seconds{$due} $((now + 2 * 86400))
container_patch_image_build_timestamp_seconds{$fresh} $((now - 10 * 86400))
container_patch_image_build_timestamp_seconds{$due} $((now - 88 * 86400))
container_patch_image_findings{$due,code="patch-due"} 1
container_patch_image_pods{$fresh,namespace="shop"} 3
container_patch_image_pods{$due,namespace="shop"} 1
container_patch_report_timestamp_seconds $((now - 3600))
EOF
}
