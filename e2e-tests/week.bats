#!/usr/bin/env bats
# The requests of one cluster over two weeks. Every request goes through the built module, at a given time.

load helpers

# When each image in the registry was built.
BUILT='{"web:1": "2026-08-25T08:00:00Z", "web:2": "2026-08-20T08:00:00Z", "web:3": "2026-11-20T08:00:00Z"}'
REPLICA_SETS=system:serviceaccount:kube-system:replicaset-controller

digest_of() { sha256sum <<< "$1" | cut -d' ' -f1 | sed 's/^/sha256:/'; }

# exchange CALL IMAGE ANSWER: adds the next registry call and its answer to the session.
exchange() {
  {
    printf -- '- type: Exchange\n  request: |\n    !%s\n    image: %s\n  response:\n    type: Success\n' "$1" "$2"
    jq -nr --arg text "$3" '"    payload: \($text | tojson)"'
  } >> "$SESSION"
}

# knows IMAGE: the registry answers with the digest of a tag, and with the build date of the image.
knows() {
  exchange OciManifestDigest "registry.example.com/$1" "$(jq -nc --arg digest "$(digest_of "$1")" '{digest: $digest}')"
  knows_content "$1"
}

# knows_content IMAGE: the registry answers with the build date of a digest. No request for the tag is expected.
knows_content() {
  local digest answer name
  digest="$(digest_of "$1")"
  name="registry.example.com/${1%%:*}@$digest"
  answer="$(jq -nc --arg digest "$digest" --arg built "$(jq -r --arg image "$1" '.[$image]' <<< "$BUILT")" '{digest: $digest, config: {created: $built},
    manifest: {config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: "sha256:c"}}}')"
  exchange OciManifestAndConfig "$name" "$answer"
}

# on DAY WHO GROUP KIND OBJECT [OLD]: runs a request at noon of that day (MM-DD) in 2026, adds what the log of the API server says to
# $LOG, and its event to $AUDIT. POD is the generated name of a pod.
on() {
  local settings operation=CREATE old="${6:-null}" api=apps/v1 generated=.
  [ "$old" = null ] || operation=UPDATE
  if [ "$4" = Pod ]; then
    api=v1
    generated=".name = \"\" | .object.metadata += {name: \"$POD\", namespace: \"shop\", generateName: \"web-5d9-\",
      ownerReferences: [{apiVersion: \"apps/v1\", kind: \"ReplicaSet\", name: \"web-5d9\", uid: \"u\", controller: true}]}"
  fi
  settings="$(jq -nc --arg at "2026-$1T12:00:00Z" '{evaluateAt: $at, baseImage: {action: "off"}, schedule: {maxAge: "90d", warnBefore: "1d"},
    breakGlass: {groups: ["oncall"]}}')"
  [ -s "$SESSION" ] || echo '[]' > "$SESSION"
  policy_run --request-path "$(request $api "$4" "$5" ".operation = \"$operation\" | .userInfo = {username: \"$2\", groups: [\"$3\"]} | .oldObject = $old | $generated")" \
    --settings-json "$settings" --replay-host-capabilities-interactions "$SESSION"
  [ "$status" -eq 0 ]
  [[ "$stderr" != *"was not replayed"* ]]
  # The audit event has the user, the verb and the object in its own fields.
  jq -c --arg day "$1" --arg user "$2" --arg verb "$operation" --arg object "$4 shop/web" \
    '{day: $day, $user, $verb, $object, annotations: .auditAnnotations}' <<< "$output" >> "$LOG"
  audit_event "$1T12:00" "$2" "$3" "${operation/UPDATE/PATCH}" "$4" "$output"
  : > "$SESSION"
}

# audit_event TIME WHO GROUP VERB KIND RESPONSE: adds an event to $AUDIT, as the API server writes it at the level Metadata, between
# events about other things.
audit_event() {
  local other='{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseComplete","requestURI":"/apis/coordination.k8s.io/v1","verb":"update","user":{"username":"system:node:a"},"objectRef":{"resource":"leases","namespace":"kube-node-lease","name":"a"},"responseStatus":{"metadata":{},"code":200},"stageTimestamp":"TIME","annotations":{"authorization.k8s.io/decision":"allow"}}'
  echo "${other/TIME/2026-$1:00.000000Z}" >> "$AUDIT"
  jq -nc --arg time "2026-$1:01.000000Z" --arg user "$2" --arg group "$3" --arg verb "${4,,}" --arg kind "$5" --arg pod "${POD:-}" \
    --argjson response "$6" '"clusterwide-container-patch-enforce.kubewarden.admission" as $webhook
    | ($kind | ascii_downcase + "s") as $resource
    | {kind: "Event", apiVersion: "audit.k8s.io/v1", level: "Metadata", stage: "ResponseComplete",
        requestURI: "/namespaces/shop/\($resource)", $verb, user: {username: $user, groups: [$group]},
        objectRef: ({$resource, namespace: "shop", apiVersion: "v1"}
          + if $kind != "Pod" then {name: "web", apiGroup: "apps"} elif $verb == "create" then {} else {name: $pod} end),
        responseStatus: (if $response.allowed then {metadata: {}, code: (if $verb == "create" then 201 else 200 end)}
          else {metadata: {}, status: "Failure", message: "admission webhook \"\($webhook)\" denied the request: \($response.status.message)",
            code: $response.status.code} end),
        stageTimestamp: $time, annotations: ($response.auditAnnotations // {} | with_entries(.key = "\($webhook)/\(.key)"))}' >> "$AUDIT"
}

# codes CODE…: asserts the codes of the findings, without the one about `evaluateAt`.
codes() { [ "$(annotation findings | jq -r '[.[] | select(.code != "evaluate-at-set").code] | join(" ")')" = "$*" ]; }
allowed() { [ "$(response .allowed)" = "$1" ]; }

# record IMAGE: prints the annotations that record its digest.
record() {
  jq -nc --arg image "registry.example.com/$1@$(digest_of "$1")" \
    '{"pin.container-patch.dev/web": $image, "pin.container-patch.dev/recorded-at": "2026-11-16T12:00:00.000000Z"}'
}

# pod_of IMAGE: prints the fields of a pod that is created from a recorded template.
pod_of() {
  jq -nc --arg image "registry.example.com/$1" --argjson annotations "$(record "$1")" \
    '{metadata: {annotations: $annotations}, spec: {containers: [{name: "web", image: $image}]}}'
}

# deployment IMAGE REPLICAS [ANNOTATIONS]: prints the fields of a Deployment, with annotations in its pod template.
deployment() {
  jq -nc --arg image "registry.example.com/$1" --argjson replicas "$2" --argjson annotations "${3:-{\}}" '{spec: {replicas: $replicas,
    template: {metadata: {annotations: $annotations}, spec: {containers: [{name: "web", image: $image}]}}}}'
}

@test "a Deployment over two weeks: fresh, stale, drained, scaled, changed, flagged, with break-glass" {
  SESSION="$BATS_TEST_TMPDIR/session.yml"
  LOG="$BATS_TEST_TMPDIR/audit.log"
  AUDIT="$BATS_TEST_TMPDIR/api-server.log"
  : > "$SESSION"

  # Monday: a Deployment with a fresh image is admitted and its digest recorded. Its pod is pinned to that digest.
  knows web:1
  on 11-16 jane dev Deployment "$(deployment web:1 3)"
  allowed true
  codes
  [ "$(response .patch | base64 -d | jq -c 'map(select(.path | startswith("/spec/template/spec")))')" = '[]' ]
  [ "$(response .patch | base64 -d | jq -r '.[] | select(.path | endswith("/pin.container-patch.dev~1web")).value')" = "registry.example.com/web:1@$(digest_of web:1)" ]
  knows_content web:1
  POD=web-5d9-a on 11-16 $REPLICA_SETS system:authenticated Pod "$(pod_of web:1)"
  allowed true
  codes
  [ "$(response .patch | base64 -d | jq -r '.[0].value')" = "registry.example.com/web:1@$(digest_of web:1)" ]

  # Tuesday a week later the image is stale. A node is drained: the pods are created again, with a warning.
  knows_content web:1
  POD=web-5d9-a audit_event 11-24T11:58 kubelet system:nodes DELETE Pod '{"allowed": true}'
  POD=web-5d9-b on 11-24 $REPLICA_SETS system:authenticated Pod "$(pod_of web:1)"
  allowed true
  codes stale-image
  [ "$(response .patch)" != null ]

  # A user scales it down: a warning.
  knows_content web:1
  on 11-24 jane dev Deployment "$(deployment web:1 1 "$(record web:1)")" "$(deployment web:1 3 "$(record web:1)")"
  allowed true
  codes stale-image
  assert_contains "$(warnings)" "a rebuild was due by 2026-11-23"

  # A user changes to another stale image: denied. Then to a fresh one: accepted, and the pod is pinned.
  knows web:2
  on 11-25 jane dev Deployment "$(deployment web:2 1 "$(record web:1)")" "$(deployment web:1 1 "$(record web:1)")"
  allowed false
  codes stale-image
  knows web:3
  on 11-25 jane dev Deployment "$(deployment web:3 1 "$(record web:1)")" "$(deployment web:1 1 "$(record web:1)")"
  allowed true
  codes
  knows_content web:3
  POD=web-5d9-c on 11-25 $REPLICA_SETS system:authenticated Pod "$(pod_of web:3)"
  allowed true
  codes
  POD=web-5d9-b audit_event 11-25T14:30 kubelet system:nodes DELETE Pod '{"allowed": true}'

  # A CVE is published: the pipeline annotates the Deployment with the scan result.
  local flagged
  flagged="$(jq -nc --arg digest "$(digest_of web:3)" '{"scan.container-patch.dev/web": ({name: "trivy", timestamp: "2026-11-26T08:00:00Z", image: $digest,
    summary: [], vulnerabilities: [{id: "CVE-2026-0001", severity: "critical", package: "openssl", fixedVersion: "3.0.8"}]} | tojson)}')"
  knows web:3
  on 11-26 jane dev Deployment "$(deployment web:3 1 "$flagged")"
  allowed false
  codes vulnerable-image

  # Break-glass, by the group that is on call and by a user who is not in it.
  local broken
  broken="$(deployment web:2 1 | jq -c '.metadata = {name: "web", namespace: "shop", annotations: {"container-patch.dev/break-glass": "INC-7 payments are down"}}')"
  knows web:2
  on 11-27 otto oncall Deployment "$broken" "$(deployment web:3 1)"
  allowed true
  codes break-glass stale-image
  knows web:2
  on 11-27 joe dev Deployment "$broken" "$(deployment web:3 1)"
  allowed false
  codes break-glass stale-image
  # The break-glass annotation that on-call left on the object does not work for other users.
  knows web:1
  on 11-28 joe dev Deployment "$(jq -c '.spec.template.spec.containers[0].image = "registry.example.com/web:1"' <<< "$broken")" "$broken"
  allowed false
  codes break-glass stale-image

  # The log alone is enough for an auditor: who did what, the image and its digest, its age, and why it was admitted.
  story() { jq -r 'select(.day == $day and .annotations.verdict == $verdict) | . as $event | .annotations | (.images | fromjson)[0] as $image
    | ((.findings // "[]") | fromjson | map(select(.code != "evaluate-at-set"))) as $findings
    | "\($event.user) \($event.verb) \($event.object): \($image.image) \($image.digest) of \($image.built // "?")\($findings | map("; " + .code + (if .passed then " passed by " + .passed else "" end)) | join(""))"' \
    --arg day "$1" --arg verdict "$2" "$LOG"; }
  [ "$(story 11-24 warned | head -1)" = "$REPLICA_SETS CREATE Pod shop/web: registry.example.com/web:1 $(digest_of web:1) of 2026-08-25T08:00:00Z; stale-image passed by controllerPods" ]
  [ "$(story 11-24 warned | tail -1)" = "jane UPDATE Deployment shop/web: registry.example.com/web:1 $(digest_of web:1) of 2026-08-25T08:00:00Z; stale-image passed by unchangedImages" ]
  [ "$(story 11-25 denied)" = "jane UPDATE Deployment shop/web: registry.example.com/web:2 $(digest_of web:2) of 2026-08-20T08:00:00Z; stale-image" ]
  [ "$(story 11-26 denied)" = "jane CREATE Deployment shop/web: registry.example.com/web:3 $(digest_of web:3) of 2026-11-20T08:00:00Z; vulnerable-image" ]
  [ "$(story 11-27 warned)" = "otto UPDATE Deployment shop/web: registry.example.com/web:2 $(digest_of web:2) of 2026-08-20T08:00:00Z; break-glass; stale-image passed by breakGlass" ]
  [ "$(story 11-27 denied)" = "joe UPDATE Deployment shop/web: registry.example.com/web:2 $(digest_of web:2) of 2026-08-20T08:00:00Z; break-glass; stale-image" ]
  [ "$(jq -r 'select(.annotations.breakGlass) | "\(.user): \(.annotations.breakGlass | fromjson | "\(.reason) (\(.by))")"' "$LOG")" = "otto: INC-7 payments are down (group oncall)" ]

  # `history` prints the same from the log of the API server. Requests without other findings are warned of `evaluateAt`.
  run --separate-stderr "$CONTAINER_PATCH" history --output json "$AUDIT"
  [ "$status" -eq 0 ]
  [ "$stderr" = "" ]
  diff <(jq -r '.entries[] | [(.time | .[5:10]), .outcome, .status, .user, .operation, .workload, .name, .tag, .ageDays,
    ([.findings[].code | select(. != "evaluate-at-set")] | join("+") | if . == "" then "-" else . end)] | join(" ")' <<< "$output") - << END
11-16 warned 201 jane CREATE Deployment/web web 1 83 -
11-16 warned 201 $REPLICA_SETS CREATE ReplicaSet/web-5d9 web-5d9-a 1 83 -
11-24 warned 201 $REPLICA_SETS CREATE ReplicaSet/web-5d9 web-5d9-b 1 91 stale-image
11-25 denied 462 jane UPDATE Deployment/web web 2 97 stale-image
11-25 warned 200 jane UPDATE Deployment/web web 3 5 -
11-25 warned 201 $REPLICA_SETS CREATE ReplicaSet/web-5d9 web-5d9-c 3 5 -
11-26 denied 464 jane CREATE Deployment/web web 3 6 vulnerable-image
11-27 warned 200 otto UPDATE Deployment/web web 2 99 break-glass+stale-image
11-27 denied 468 joe UPDATE Deployment/web web 2 99 break-glass+stale-image
11-28 denied 468 joe UPDATE Deployment/web web 1 95 break-glass+stale-image
END
  [ "$(jq -c '.entries[] | select(.breakGlass) | [.user, .breakGlass.reason, .breakGlass.by]' <<< "$output")" = '["otto","INC-7 payments are down","group oncall"]' ]
  # The scaling leaves its image unchanged.
  [ "$(jq .summary.unchangedLeftOut <<< "$output")" -eq 1 ]
  # The new build came in on 25 November at noon, and the last pod of the old one was deleted two and a half hours later.
  [ "$(jq -c '.timeToPatch.repositories' <<< "$output")" = '[{"finished":1,"meanSeconds":9000,"p90Seconds":9000,"repository":"registry.example.com/web","slowestSeconds":9000,"unfinished":0}]' ]
}
