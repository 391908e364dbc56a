#!/usr/bin/env bats
# One manifest and one file of settings: check, run, report and the module in kwctl give the same findings.

load helpers

setup() { cd "$BATS_TEST_TMPDIR"; }

# findings: reads a JSON list of findings, and prints them without what only one of the commands adds.
findings() { jq -cS '[.[] | {code, effect, site, image, text, passed: (.passed // null)}]'; }

# agree MANIFEST: compares the findings of all commands for the object of a manifest, with the recorded session in session.yaml.
agree() {
  local manifest="$1" expected
  local flags=(--settings-path settings.yaml --replay-host-capabilities-interactions session.yaml)
  run --separate-stderr "$CONTAINER_PATCH" check --no-config "$manifest" "${flags[@]}" --output json
  echo "check: $output $stderr"
  [ "$(jq '.objects | length' <<< "$output")" -eq 1 ]
  expected="$(jq -c '.objects[0].findings' <<< "$output" | findings)"
  [ "$(jq length <<< "$expected")" -gt 0 ]
  [[ "$stderr" != *"replay"* ]]
  local group version kind
  version="$(jq -r .apiVersion "$manifest")"
  kind="$(jq -r .kind "$manifest")"
  policy_run --request-path "$(request "$version" "$kind" "$(cat "$manifest")")" "${flags[@]}"
  [ "$(annotation findings | findings)" = "$expected" ]
  # `policy_run` prefers kwctl.
  if [ -n "$KWCTL" ]; then
    run --separate-stderr "$CONTAINER_PATCH" run --request-path "$(request "$version" "$kind" "$(cat "$manifest")")" "${flags[@]}"
    [ "$(annotation findings | findings)" = "$expected" ]
  fi
  run --separate-stderr "$CONTAINER_PATCH" report --no-config "$manifest" "${flags[@]}" --output json
  echo "report: $output $stderr"
  # A report lists findings by image, with its uses, and apart from them those about whole objects.
  [ "$(jq -c '[(.images[] | .usedBy[] as $use | .findings[] + {site: $use.container, image: $use.image}), .objectFindings[]]' <<< "$output" | findings | jq -c sort)" \
    = "$(jq -c sort <<< "$expected")" ]
}

# recorded ANSWER…: writes session.yaml. Each answer is QUESTION, a space, and the image; the image was built on 2026-06-01.
recorded() {
  local line
  : > session.yaml
  for line in "$@"; do
    jq -nr --arg question "${line%% *}" --arg image "${line#* }" --arg digest "$DIGEST" '
      {digest: $digest, config: {created: "2026-06-01T00:00:00Z"}, manifest: {config: {mediaType: "application/vnd.oci.image.config.v1+json"}}} as $built
      | (if $question == "OciManifestDigest" then {digest: $digest} else $built end | tojson) as $answer
      | "- type: Exchange\n  request: |\n    !\($question)\n    image: \($image)\n  response:\n    type: Success\n    payload: \($answer | tojson)"' >> session.yaml
  done
}

@test "check, run, report and kwctl give the same findings for an old image with a digest" {
  echo '{evaluateAt: 2026-11-20T12:00:00Z, schedule: {maxAge: 90d}, baseImage: {action: "off"}, scan: {action: deny, require: true}}' > settings.yaml
  recorded "OciManifestAndConfig registry.example.com/shop/web@$DIGEST"
  jq -nc --arg digest "$DIGEST" '{apiVersion: "v1", kind: "Pod", metadata: {name: "web", namespace: "shop"},
    spec: {containers: [{name: "app", image: "registry.example.com/shop/web@\($digest)"}]}}' > pod.json
  agree pod.json
  assert_contains "$(codes_of_check pod.json)" "stale-image"
}

codes_of_check() {
  "$CONTAINER_PATCH" check --no-config "$1" --settings-path settings.yaml --replay-host-capabilities-interactions session.yaml --output json \
    | jq -r '[.objects[0].findings[].code] | join(" ")'
}

@test "check, run, report and kwctl give the same findings for a workload with several images" {
  echo '{evaluateAt: 2026-11-20T12:00:00Z, pinning: {action: deny, templates: true}, schedule: {action: "off"}, baseImage: {action: "off"}, scan: {action: "off"}}' > settings.yaml
  echo '[]' > session.yaml
  jq -nc '{apiVersion: "apps/v1", kind: "Deployment", metadata: {name: "web", namespace: "shop"}, spec: {template: {spec: {
    initContainers: [{name: "setup", image: "registry.example.com/shop/setup"}],
    containers: [{name: "app", image: "not a reference!"}, {name: "side", image: "registry.example.com/shop/side:latest"}]}}}}' > deployment.json
  agree deployment.json
}
