#!/usr/bin/env bats
# container-patch report: the images of manifests, with build dates from a real registry.

load helpers
load ../hack/registry.bash

setup_file() {
  export REGISTRY_FOLDER="$BATS_FILE_TMPDIR/registry"
  mkdir "$REGISTRY_FOLDER"
  start_registry "$REGISTRY_FOLDER"
  export REGISTRY REGISTRY_PID
  local base web
  base="$(push_image alpine 3 2026-11-10T08:00:00Z)"
  push_image shop/web 1.4 2026-08-01T08:00:00Z > "$BATS_FILE_TMPDIR/old"
  push_image shop/web 1.5 2026-11-15T08:00:00Z . ".annotations = {
    \"org.opencontainers.image.base.name\": \"$REGISTRY/alpine:3\", \"org.opencontainers.image.base.digest\": \"$base\"}" > "$BATS_FILE_TMPDIR/web"
  push_image shop/cart 2.0 2026-09-05T08:00:00Z . ".annotations = {
    \"org.opencontainers.image.base.name\": \"$REGISTRY/alpine:3\",
    \"org.opencontainers.image.base.digest\": \"sha256:$(printf '0%.0s' {1..64})\"}" > "$BATS_FILE_TMPDIR/cart"
}

teardown_file() { stop_registry; }

setup() {
  cd "$BATS_TEST_TMPDIR"
  OLD="$(cat "$BATS_FILE_TMPDIR/old")"
  WEB="$(cat "$BATS_FILE_TMPDIR/web")"
}

# deployment NAME IMAGE [LABEL]: prints a Deployment in the namespace shop.
deployment() {
  printf -- '---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s, namespace: shop, labels: {app: %s}}\nspec: {template: {spec: {containers: [{name: app, image: "%s"}]}}}\n' \
    "$1" "${3:-$1}" "$2"
}

# report FLAG…: runs the command as of 2026-11-20.
report() {
  local settings=(--settings-json '{"evaluateAt": "2026-11-20T12:00:00Z"}')
  [[ "$*" == *--settings* ]] && settings=()
  run --separate-stderr "$CONTAINER_PATCH" report "${settings[@]}" --insecure-registry "$REGISTRY" "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

# shop: writes a manifest with three images.
shop() {
  { deployment web "$REGISTRY/shop/web:1.5"; deployment copy "$REGISTRY/shop/web:1.5@$WEB"; deployment old "$REGISTRY/shop/web:1.4@$OLD"
    deployment cart "$REGISTRY/shop/cart:2.0"; } > shop.yaml
}

@test "each image is reported once, by deadline" {
  shop
  report shop.yaml --output json
  [ "$status" -eq 1 ]
  [ "$(jq -c '[.images[] | [.tags[0], .verdict, .built, .deadline, .daysLeft, (.usedBy | length)]]' <<< "$output")" = \
    '[["1.4","denied","2026-08-01T08:00:00Z","2026-10-30T08:00:00Z",-22,1],["2.0","warned","2026-09-05T08:00:00Z","2026-12-04T08:00:00Z",13,1],["1.5","accepted","2026-11-15T08:00:00Z","2027-02-13T08:00:00Z",84,2]]' ]
  [ "$(jq -c '[.images[].base.outdated]' <<< "$output")" = '[null,true,false]' ]
  [ "$(jq -c '[.images[] | [.findings[].code]]' <<< "$output")" = '[["stale-image"],["base-update-due","patch-due"],[]]' ]
  [ "$(jq -r '.images[2].digest' <<< "$output")" = "$WEB" ]
  [ "$(jq -c '[.drift.repositories[0].tags[].value]' <<< "$output")" = '["1.4","1.5"]' ]
}

@test "the verdicts and findings are those of check" {
  shop
  report shop.yaml --output json
  local of_report of_check
  of_report="$(jq -c '[.images[].findings[] | .code, .text] | sort' <<< "$output")"
  run --separate-stderr "$CONTAINER_PATCH" check shop.yaml --settings-json '{"evaluateAt": "2026-11-20T12:00:00Z"}' \
    --insecure-registry "$REGISTRY" --output json
  of_check="$(jq -c '[.objects[].findings[] | select(.code != "evaluate-at-set") | .code, .text] | sort' <<< "$output")"
  echo "check: $of_check"
  [ "$of_report" = "$of_check" ]
}

@test "the rule rollout judges new objects, not objects that exist" {
  local settings='{"evaluateAt": "2026-11-20T12:00:00Z", "rollout": {"windows": [{"cron": "0 9 * * MON", "for": "1h"}]}}'
  deployment web "$REGISTRY/shop/web:1.5@$WEB" > new.yaml
  sed 's/{name: web, /&uid: 3f1c, resourceVersion: "7", /' new.yaml > live.yaml
  report new.yaml --settings-json "$settings" --output json
  [ "$status" -eq 1 ]
  [ "$(jq -c '[.images[0].findings[].code]' <<< "$output")" = '["outside-window"]' ]
  report live.yaml --settings-json "$settings" --output json
  [ "$status" -eq 0 ]
  [ "$(jq -c '.images[0] | [.verdict, .findings]' <<< "$output")" = '["accepted",[]]' ]
  # The policy tells them apart.
  report new.yaml live.yaml --settings-json "$settings"
  [ "$status" -eq 1 ]
  report live.yaml new.yaml --settings-json "$settings"
  [ "$status" -eq 1 ]
}

@test "one tag with several digests is drift" {
  { deployment web "$REGISTRY/shop/web:1.5@$WEB"; deployment old "$REGISTRY/shop/web:1.5@$OLD"; } > shop.yaml
  report shop.yaml
  assert_contains "$output" "$REGISTRY/shop/web:1.5 is 2 different digests:"
  assert_contains "$output" "${OLD:0:19}…  Deployment shop/old"
}

@test "only images that are due are reported with --due-within" {
  shop
  report shop.yaml --due-within 14d --output json
  [ "$status" -eq 1 ]
  [ "$(jq -c '[.images[].tags[0]]' <<< "$output")" = '["1.4","2.0"]' ]
  [ "$(jq .summary.leftOut <<< "$output")" -eq 1 ]
  report shop.yaml --due-within soon
  [ "$status" -eq 2 ]
}

@test "only objects whose labels match are reported with --selector" {
  shop
  report shop.yaml --selector 'app in (web, cart)' --output json
  [ "$status" -eq 0 ]
  [ "$(jq -c '[.images[].tags[0]]' <<< "$output")" = '["2.0","1.5"]' ]
}

@test "an image that cannot be judged does not stop the others, and the exit code is 2" {
  { deployment web "$REGISTRY/shop/web:1.5"; deployment none "$REGISTRY/shop/none:1"; printf -- '---\nkind: [unclosed\n'; } > shop.yaml
  report shop.yaml --output json
  [ "$status" -eq 2 ]
  [ "$(jq -c '[.images[] | [.repository, .verdict]]' <<< "$output")" = "[[\"$REGISTRY/shop/web\",\"accepted\"],[\"$REGISTRY/shop/none\",\"failed\"]]" ]
  [ "$(jq '.failures | length' <<< "$output")" -eq 1 ]
  assert_contains "$(jq -r '.failures[0].subject' <<< "$output")" "shop.yaml:"
}

@test "deadlines follow the overrides, patch days and freezes of the settings" {
  shop
  printf '%s\n' 'evaluateAt: 2026-11-20T12:00:00Z' \
    'schedule:' '  patchDays: {cron: "0 0 * * TUE#2", timeZone: Europe/Berlin, grace: 14d}' \
    '  freezes: [{from: 2026-12-18, to: 2027-01-03, reason: year end}]' \
    "overrides: [{images: [\"$REGISTRY/shop/cart:*\"], schedule: {action: \"off\"}}]" > settings.yaml
  report shop.yaml --settings-path settings.yaml --output json
  [ "$(jq -c '[.images[] | [.tags[0], .deadlineDay, .freeze]]' <<< "$output")" = \
    '[["1.4","2026-08-25",null],["1.5","2027-01-04","year end"],["2.0",null,null]]' ]
  [ "$(jq -c '.calendar | [.timeZone, .freezes[0].reason, (.patchDays | length > 2)]' <<< "$output")" = '["Europe/Berlin","year end",true]' ]
}

@test "an image in several namespaces has the earliest deadline and the strictest finding" {
  { deployment web "$REGISTRY/shop/web:1.4"; deployment web "$REGISTRY/shop/web:1.4" | sed 's/namespace: shop/namespace: staging-eu/'
    deployment cart "$REGISTRY/shop/cart:2.0" | sed 's/namespace: shop/namespace: staging-eu/'; } > tiers.yaml
  printf '%s\n' 'evaluateAt: 2026-11-20T12:00:00Z' 'schedule: {maxAge: 60d}' \
    'overrides: [{images: ["*"], namespaces: ["staging-*"], schedule: {action: warn, maxAge: 30d}}]' > settings.yaml
  report tiers.yaml --settings-path settings.yaml --output json
  [ "$status" -eq 1 ]
  local found='[.images[] | [.tags[0], .verdict, .deadlineDay, [.findings[] | select(.code == "stale-image").effect], [.usedBy[].namespace]]]'
  # The one in both namespaces is due when staging warns about it, and production refuses it. Its texts name the two limits.
  [ "$(jq -c "$found" <<< "$output")" = \
    '[["1.4","denied","2026-08-31",["deny","warn"],["shop","staging-eu"]],["2.0","warned","2026-10-05",["warn"],["staging-eu"]]]' ]
  # With the same limit, the texts are the same, and the stricter effect remains.
  sed -i 's/, maxAge: 30d//' settings.yaml
  report tiers.yaml --settings-path settings.yaml --output json
  [ "$(jq -c "$found" <<< "$output")" = \
    '[["1.4","denied","2026-09-30",["deny"],["shop","staging-eu"]],["2.0","warned","2026-11-04",["warn"],["staging-eu"]]]' ]
}

@test "the metrics are accepted by promtool" {
  shop
  report shop.yaml --output openmetrics
  [ "$status" -eq 1 ]
  assert_contains "$output" "container_patch_images{verdict=\"denied\"} 1"
  assert_contains "$output" "container_patch_image_deadline_timestamp_seconds{repository=\"$REGISTRY/shop/web\",tag=\"1.4\",digest=\"$OLD\"} 1793347200"
  assert_contains "$output" "container_patch_report_timestamp_seconds 1795176000"
  [ "$(tail -n 1 <<< "$output")" = "# EOF" ]
  if command -v promtool > /dev/null; then
    promtool check metrics <<< "$output"
  fi
}

@test "CSV has a line for each image, which ends in CRLF" {
  shop
  "$CONTAINER_PATCH" report shop.yaml --settings-json '{"evaluateAt": "2026-11-20T12:00:00Z"}' --insecure-registry "$REGISTRY" --output csv > report.csv || true
  [ "$(grep -c $'\r$' report.csv)" -eq 4 ]
  [ "$(head -n 1 report.csv | cut -d, -f1-4)" = "repository,tags,digest,verdict" ]
  assert_contains "$(cat report.csv)" "$REGISTRY/shop/web,1.4,$OLD,denied,2026-08-01T08:00:00Z,2026-10-30T08:00:00Z,2026-10-30,-22"
}

@test "Markdown has a table of the images" {
  shop
  report shop.yaml --output markdown
  assert_contains "$output" "3 images: 1 accepted, 1 accepted with warnings, 1 denied; 1 past the deadline"
  # Colons are escaped, since an address would become a link.
  assert_contains "$(sed 's/&#58;/:/g' <<< "$output")" "| 2026-10-30 | -22 | denied | <code>$REGISTRY/shop/web:1.4</code>"
}

@test "objects without images make an empty report" {
  printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n' > map.yaml
  report map.yaml --settings-json '{}'
  [ "$status" -eq 0 ]
  assert_contains "$output" "0 images"
}

@test "manifests, a cluster or a swarm are required, and only one of them" {
  report
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "the following required arguments were not provided"
  report shop.yaml --cluster
  [ "$status" -eq 2 ]
  report shop.yaml --swarm
  [ "$status" -eq 2 ]
  report --swarm --cluster
  [ "$status" -eq 2 ]
  report --cluster --stack shop
  [ "$status" -eq 2 ]
  report --cluster --kubeconfig none.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "cannot read the kubeconfig none.yaml"
}

@test "a report about a swarm fails without a Docker Engine" {
  unset DOCKER_HOST
  report --swarm --docker-host "unix://$PWD/none.sock"
  [ "$status" -eq 2 ]
  [ "$output" = "" ]
  assert_contains "$stderr" "cannot ask the Docker Engine at unix://$PWD/none.sock: the socket does not exist; start the engine"
  DOCKER_HOST=ssh://manager report --swarm
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "ssh:// is not supported; forward the socket"
  # The address is not used for manifests.
  shop
  DOCKER_HOST=ssh://manager report shop.yaml --output csv
  [ "$status" -eq 1 ]
}

@test "the example in the documentation is the output of the command" {
  cd "$ROOT"
  run --separate-stderr "$CONTAINER_PATCH" report examples/shop.yaml --settings-path examples/recorded/settings.yaml \
    --replay-host-capabilities-interactions examples/recorded/session.yaml
  [ "$status" -eq 1 ]
  [ "$output" = "$(sed -n '/^\$ container-patch report examples/,/^```/p' docs/report.md | sed '1,2d;$d')" ]
}
