#!/usr/bin/env bats
# container-patch check --fix: writes digests into manifests. The registry is a real one on loopback, and tags are pushed again.

load helpers

setup_file() {
  source "$BATS_TEST_DIRNAME/../hack/registry.bash"
  mkdir -p "$BATS_FILE_TMPDIR/registry"
  start_registry "$BATS_FILE_TMPDIR/registry"
  export REGISTRY REGISTRY_PID
}

teardown_file() { kill "$REGISTRY_PID"; }

setup() {
  source "$BATS_TEST_DIRNAME/../hack/registry.bash"
  export DOCKER_CONFIG="$BATS_TEST_TMPDIR/docker"
  mkdir -p "$DOCKER_CONFIG" "$BATS_TEST_TMPDIR/work"
  echo '{}' > "$DOCKER_CONFIG/config.json"
  cd "$BATS_TEST_TMPDIR/work"
  # A repository for each test, so that its tags are its own.
  REPO="$REGISTRY/shop/test-$BATS_TEST_NUMBER"
}

# Images need a digest, and are too old after 90 days. The time is 2026-11-20, noon.
SETTINGS='{"evaluateAt": "2026-11-20T12:00:00Z", "pinning": {"action": "deny"}, "schedule": {"action": "deny", "maxAge": "90d"},
  "baseImage": {"action": "off"}, "scan": {"action": "off"}}'
FRESH=2026-11-10T00:00:00Z
NEWER=2026-11-15T00:00:00Z
OLD=2026-07-01T00:00:00Z

# push TAG CREATED: pushes an image to the repository of the test, and prints its digest.
push() { push_image "${REPO#*/}" "$1" "$2"; }

# settings JSON: prints SETTINGS, changed by these settings.
settings() { jq -nc --argjson all "$SETTINGS" --argjson settings "$1" '$all * $settings'; }

# check FLAG…: checks manifests with SETTINGS, unless the flags give others.
check() {
  local settings=(--settings-json "$SETTINGS")
  [[ "$*" == *--settings* ]] && settings=()
  run --separate-stderr "$CONTAINER_PATCH" check "${settings[@]}" --insecure-registry "$REGISTRY" --policy-timeout 60 "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

# pod NAME IMAGE…: prints a Pod with these images.
pod() {
  printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  containers:\n' "$1"
  shift
  local number=0 image
  for image in "$@"; do printf '  - name: c%s # %s\n    image: %s\n' "$((number += 1))" "$number" "$image"; done
}

# assert_only_images_changed FILE BEFORE: the files differ only in lines with an image, and only in its digest.
assert_only_images_changed() {
  [ "$(sed -E 's/@sha256:[0-9a-f]{64}//g' "$1" | sha256sum)" = "$(sed -E 's/@sha256:[0-9a-f]{64}//g' "$2" | sha256sum)" ]
  ! cmp -s "$1" "$2"
}

@test "an image without a digest gets the one of its tag, check passes, and a second run changes nothing" {
  local digest
  digest="$(push 1 "$FRESH")"
  pod web "$REPO:1" "\"$REPO:1\"" > web.yaml
  cp web.yaml before.yaml
  check --fix --yes web.yaml
  [ "$status" -eq 0 ]
  assert_contains "$output" "1 accepted with warnings"
  assert_contains "$stderr" "fixed 2 images in 1 file; 0 could not be fixed"
  assert_contains "$stderr" "-    image: $REPO:1"
  assert_contains "$stderr" "+    image: $REPO:1@$digest"
  [ "$(sed "s|\($REPO:1\)|\1@$digest|" before.yaml)" = "$(cat web.yaml)" ]
  assert_only_images_changed web.yaml before.yaml
  check web.yaml
  [ "$status" -eq 0 ]
  cp web.yaml fixed.yaml
  check --fix --yes web.yaml
  [ "$status" -eq 0 ]
  [ "$stderr" = "fixed 0 images in 0 files; 0 could not be fixed" ]
  cmp web.yaml fixed.yaml
}

@test "a stale digest is replaced if its tag points at a newer build, with a dry run first" {
  local old new
  old="$(push 1 "$OLD")"
  new="$(push 1 "$NEWER")"
  pod web "$REPO:1@$old" > web.yaml
  cp web.yaml before.yaml
  check web.yaml
  [ "$status" -eq 1 ]
  check --fix --dry-run web.yaml
  [ "$status" -eq 0 ]
  [ "$stderr" = "would fix 1 image in 1 file; 0 could not be fixed" ]
  cmp web.yaml before.yaml
  # The output can be applied.
  printf '%s\n' "$output" > fix.diff
  git apply --include=web.yaml fix.diff
  [ "$(cat web.yaml)" = "$(sed "s/$old/$new/" before.yaml)" ]
  cp before.yaml web.yaml
  check --fix --yes web.yaml --output json
  [ "$status" -eq 0 ]
  [ "$(jq -r '.objects[0].verdict' <<< "$output")" = warned ]
  [ "$(cat web.yaml)" = "$(sed "s/$old/$new/" before.yaml)" ]
}

@test "what cannot be fixed is listed with its place and the reason, and the exit code is that of the fixed manifests" {
  local old older stale fresh
  stale="$(push stale "$OLD")"
  older="$(push older "$OLD")"
  push older 2026-06-01T00:00:00Z > older-build
  old="$(push moved "$OLD")"
  push moved 2026-07-02T00:00:00Z > still-stale
  fresh="$(push 1 "$FRESH")"
  push latest "$FRESH" > latest
  pod web "$REPO:1" "$REPO:stale@$stale" "$REPO:older@$older" "$REPO:moved@$old" "$REPO@$stale" "$REPO:latest" "$REPO:gone" \
    "'{{ image }}'" "$REPO:latest@$stale" > web.yaml
  check --fix --yes web.yaml
  [ "$status" -eq 1 ]
  assert_contains "$stderr" "fixed 1 image in 1 file; 8 could not be fixed"
  assert_contains "$stderr" "web.yaml:9:12: container \`c2\` of Pod default/web: image \`$REPO:stale@$stale\`: its tag \`stale\` still points at this digest"
  assert_contains "$stderr" "its tag points at an older build, $(cat older-build) of 2026-06-01"
  assert_contains "$stderr" "its tag points at $(cat still-stale), which is refused, too: it was built 2026-07-02"
  assert_contains "$stderr" "it has no tag that could point at a newer build"
  assert_contains "$stderr" "has the forbidden tag \`latest\`"
  assert_contains "$stderr" "its tag \`latest\` is forbidden"
  assert_contains "$stderr" "image \`$REPO:gone\`: "
  assert_contains "$stderr" "it is part of a template"
  assert_contains "$(cat web.yaml)" "image: $REPO:1@$fresh"
  # A tag that points at a refused build is pinned, and the refusal is listed.
  pod web "$REPO:stale" > stale.yaml
  check --fix --yes stale.yaml
  [ "$status" -eq 1 ]
  assert_contains "$stderr" "fixed 1 image in 1 file; 1 could not be fixed"
  assert_contains "$stderr" "still points at this digest"
}

@test "a registry that is down is a reason, and nothing changes" {
  pod web "127.0.0.1:1/web:1" "127.0.0.1:1/web:1@$DIGEST" > web.yaml
  cp web.yaml before.yaml
  check --fix --yes --insecure-registry 127.0.0.1:1 web.yaml
  [ "$status" -ne 0 ]
  assert_contains "$stderr" "fixed 0 images in 0 files; 2 could not be fixed"
  assert_contains "$stderr" "could not be verified"
  cmp web.yaml before.yaml
}

@test "the policy pins and records: pods and templates get these digests, except where a record is in the manifest" {
  local digest
  digest="$(push 1 "$FRESH")"
  { pod web "$REPO:1"; cat <<EOF; } > web.yaml
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata: {annotations: {pin.container-patch.dev/app: "$REPO:2@$digest"}}
    spec:
      containers: [{name: app, image: "$REPO:1"}, {name: side, image: $REPO:1}]
      volumes: [{name: data, image: {reference: $REPO:1, pullPolicy: Always}}]
EOF
  cp web.yaml before.yaml
  check --fix --yes web.yaml --settings-json "$(settings '{"pinning": {"action": "pin"}}')"
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "fixed 3 images in 1 file; 1 could not be fixed"
  assert_contains "$stderr" "container \`app\` of Deployment default/web: image \`$REPO:1\`: its digest is in the record"
  assert_contains "$(cat web.yaml)" "{name: app, image: \"$REPO:1\"}, {name: side, image: $REPO:1@$digest}]"
  assert_contains "$(cat web.yaml)" "reference: $REPO:1@$digest, pullPolicy"
  # Without pinning, nothing is written.
  cp before.yaml web.yaml
  check --fix --yes web.yaml --settings-json "$(settings '{"pinning": {"action": "off"}}')"
  cmp web.yaml before.yaml
}

@test "the pair of policies of a cluster decides: one pins, the other refuses" {
  local old new digest
  digest="$(push 1 "$FRESH")"
  old="$(push 2 "$OLD")"
  new="$(push 2 "$NEWER")"
  push stale "$OLD" > stale
  cat > policies.yaml <<EOF
apiVersion: policies.kubewarden.io/v1
kind: ClusterAdmissionPolicy
metadata: {name: pin}
spec:
  mode: protect
  mutating: true
  rules:
    - {apiGroups: ["", apps], apiVersions: ["*"], resources: [pods, deployments], operations: [CREATE]}
  settings: $(settings '{"pinning": {"action": "pin"}, "schedule": {"action": "off"}}')
---
apiVersion: policies.kubewarden.io/v1
kind: ClusterAdmissionPolicy
metadata: {name: enforce}
spec:
  mode: protect
  mutating: false
  rules:
    - {apiGroups: ["", apps], apiVersions: ["*"], resources: [pods, deployments], operations: [CREATE]}
  settings: $SETTINGS
EOF
  cat > web.yaml <<EOF
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: app, image: $REPO:1}, {name: side, image: "$REPO:2@$old"}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: stale}
spec: {template: {spec: {containers: [{name: app, image: "$REPO:stale"}]}}}
EOF
  cp web.yaml before.yaml
  check --fix --yes web.yaml --settings-path policies.yaml
  [ "$status" -eq 1 ]
  assert_contains "$stderr" "fixed 3 images in 1 file; 1 could not be fixed"
  assert_contains "$stderr" "its tag \`stale\` still points at this digest"
  [ "$(cat web.yaml)" = "$(sed "s|\($REPO:1\)|\1@$digest|; s|$old|$new|; s|\($REPO:stale\)|\1@$(cat stale)|" before.yaml)" ]
}

@test "the policy pins an image although another one of its object is refused" {
  local digest stale
  digest="$(push 1 "$FRESH")"
  stale="$(push stale "$OLD")"
  pod web "$REPO:1" "$REPO:stale@$stale" > web.yaml
  cp web.yaml before.yaml
  check --fix --yes web.yaml --settings-json "$(settings '{"pinning": {"action": "pin"}}')"
  [ "$status" -eq 1 ]
  assert_contains "$stderr" "fixed 1 image in 1 file; 1 could not be fixed"
  [ "$(cat web.yaml)" = "$(sed "s|$REPO:1$|$REPO:1@$digest|" before.yaml)" ]
  # Without pinning it stays.
  cp before.yaml web.yaml
  check --fix --yes web.yaml --settings-json "$(settings '{"pinning": {"action": "off"}}')"
  [ "$status" -eq 1 ]
  cmp web.yaml before.yaml
}

@test "exempt images stay, and are listed" {
  push 1 "$FRESH" > digest
  pod web "$REPO:1" > web.yaml
  cp web.yaml before.yaml
  check --fix --yes web.yaml --settings-json "$(settings "{\"exempt\": [\"$REPO:*\"]}")"
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "the settings exempt it"
  assert_contains "$stderr" "fixed 0 images in 0 files; 0 could not be fixed; 1 exempt"
  cmp web.yaml before.yaml
}

@test "an image with a warning only is updated if the warning goes away" {
  local old new
  old="$(push 1 2026-08-28T00:00:00Z)"
  pod web "$REPO:1@$old" > web.yaml
  cp web.yaml before.yaml
  check --fix --yes web.yaml
  [ "$status" -eq 0 ]
  assert_contains "$output" "[patch-due]"
  [ "$stderr" = "fixed 0 images in 0 files; 0 could not be fixed" ]
  new="$(push 1 "$NEWER")"
  check --fix --yes web.yaml
  [ "$status" -eq 0 ]
  [[ "$output" != *"[patch-due]"* ]]
  [ "$(cat web.yaml)" = "$(sed "s/$old/$new/" before.yaml)" ]
}

@test "comments, quotes, anchors, lists, documents, line ends and byte order marks stay" {
  local old new digest
  old="$(push 2 "$OLD")"
  new="$(push 2 "$NEWER")"
  digest="$(push 1 "$FRESH")"
  mkdir k8s
  cat > k8s/all.yaml <<EOF
# $REPO:1 is the shop
x-shop: &shop
  image: $REPO:1     # the shop
  imagePullPolicy: Always
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      initContainers:
      - {<<: *shop, name: init}
      containers:
      - <<: *shop
        name: app
      - {name: quoted, image: '$REPO:1'}
      - name: block
        image: >-
          $REPO:2@$old
        # $REPO:2@$old
      - {name: alias, image: &two "$REPO:2@$old"}
      - {name: same, image: *two}
...
---
kind: List
apiVersion: v1
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: one}
  spec: {containers: [{image: $REPO:1, name: a, env: [{name: IMAGE, value: "$REPO:1"}]}]}
- {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
EOF
  { printf '\357\273\277'; pod dos "$REPO:1" | sed 's/$/\r/'; } > k8s/dos.yml
  jq -n --arg image "$REPO:1" '{apiVersion: "v1", kind: "Pod", metadata: {name: "j"}, spec: {containers: [{name: "a", $image}]}}' \
    | sed 's|/|\\/|g' > k8s/pod.json
  cp -r k8s before
  check --fix --yes k8s
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "fixed 7 images in 3 files; 0 could not be fixed"
  # One line of each comment has the name of the image, and has stayed.
  [ "$(sed "s|: $REPO:1\$|&@$digest|; s|\(image: $REPO:1\)\([ ,]\)|\1@$digest\2|; s|'$REPO:1'|'$REPO:1@$digest'|; /#/!s|$old|$new|" before/all.yaml)" \
    = "$(cat k8s/all.yaml)" ]
  [ "$(sed "s|\($REPO:1\)|\1@$digest|" before/dos.yml | sha256sum)" = "$(sha256sum < k8s/dos.yml)" ]
  [ "$(sed "s|\(:1\)\"|\1@$digest\"|" before/pod.json)" = "$(cat k8s/pod.json)" ]
  for file in all.yaml dos.yml pod.json; do assert_only_images_changed "k8s/$file" "before/$file"; done
  cp -r k8s fixed
  check --fix --yes k8s
  [ "$status" -eq 0 ]
  diff -r k8s fixed
}

@test "an image that shares an anchor with a value that would change, or with an exempt object, stays" {
  push 1 "$FRESH" > digest
  printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - {name: a, image: &i "%s:1", env: [{name: I, value: *i}]}\n' "$REPO" > env.yaml
  printf 'kind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: &s {containers: [{name: a, image: "%s:1"}]}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, spec: *s}\n' "$REPO" > list.yaml
  cp env.yaml before.yaml
  cp list.yaml before-list.yaml
  check --fix --yes env.yaml list.yaml
  [ "$status" -eq 1 ]
  assert_contains "$stderr" "env.yaml:6:22: container \`a\` of Pod default/a: image \`$REPO:1\`: it cannot be changed on its own: other values of the file would change with it"
  assert_contains "$stderr" "several containers share it through an anchor"
  cmp env.yaml before.yaml
  cmp list.yaml before-list.yaml
}

@test "templates, files that cannot be parsed, and standard input are refused with the reason" {
  push 1 "$FRESH" > digest
  printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: {{ .Values.image }} }]}\n' > helm.yaml
  { pod a "$REPO:1"; printf -- '---\nkind: [\n'; } > broken.yaml
  cp broken.yaml before.yaml
  check --fix --yes helm.yaml broken.yaml
  [ "$status" -eq 1 ]
  assert_contains "$stderr" "helm.yaml:1: invalid manifest from line 1"
  assert_contains "$stderr" "render templates first, as \`helm template\` does"
  printf 'kind: Pod\n{{- if .Values.on }}\nspec: {}\n{{- end }}\n' > other.yaml
  check --fix --yes other.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "other.yaml:1: invalid YAML: line 3: could not find expected ':'; render templates first, as \`helm template\` does"
  check --fix --yes helm.yaml broken.yaml
  assert_contains "$stderr" "broken.yaml:1: Pod default/a: another document of the file is invalid"
  assert_contains "$stderr" "broken.yaml:9: invalid YAML"
  assert_contains "$stderr" "fixed 0 images in 0 files; 3 could not be fixed"
  cmp broken.yaml before.yaml
  run --separate-stderr bash -c '"$0" check --fix --yes --settings-json "$1" --insecure-registry "$2" - < <(sed /---/,\$d broken.yaml)' \
    "$CONTAINER_PATCH" "$SETTINGS" "$REGISTRY"
  [ "$status" -eq 1 ]
  assert_contains "$stderr" "<stdin>:7:12: container \`c1\` of Pod default/a: image \`$REPO:1\`: standard input cannot be changed"
}

@test "links stay links, permissions stay, and a link out of a folder is not followed" {
  push 1 "$FRESH" > digest
  mkdir folder
  pod a "$REPO:1" > real.yaml
  chmod 640 real.yaml
  ln -s real.yaml link.yaml
  check --fix --yes link.yaml
  [ "$status" -eq 0 ]
  [ -L link.yaml ]
  [ "$(stat -c %a real.yaml)" = 640 ]
  assert_contains "$(cat real.yaml)" "@sha256:"
  pod a "$REPO:1" > real.yaml
  pod b "$REPO:1" > folder/inside.yaml
  ln -s ../real.yaml folder/outside.yaml
  ln -s inside.yaml folder/again.yaml
  cp real.yaml before.yaml
  check --fix --yes folder
  [ "$status" -eq 1 ]
  assert_contains "$stderr" "the file is a link to a file outside of the folder"
  assert_contains "$stderr" "fixed 1 image in 1 file; 1 could not be fixed"
  cmp real.yaml before.yaml
  [ -L folder/outside.yaml ]
  [ -L folder/again.yaml ]
  assert_contains "$(cat folder/inside.yaml)" "@sha256:"
}

@test "a read-only file is an error that names it, and no other file is written" {
  push 1 "$FRESH" > digest
  pod a "$REPO:1" > a.yaml
  pod b "$REPO:1" > b.yaml
  chmod 444 b.yaml
  cp a.yaml before.yaml
  check --fix --yes a.yaml b.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "Error: cannot write b.yaml; nothing was written: the file is read-only"
  cmp a.yaml before.yaml
}

@test "without a terminal, the error says which flag to give" {
  pod a "$REPO:1" > a.yaml
  check --fix a.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "give --yes to write without asking, or --dry-run to only print the diff"
  check --yes a.yaml
  [ "$status" -eq 2 ]
  check --fix --yes --dry-run a.yaml
  [ "$status" -eq 2 ]
  check --fix --dry-run --output json a.yaml
  [ "$status" -eq 2 ]
}

# on_terminal ANSWER: fixes a.yaml on a terminal, and answers the question.
on_terminal() {
  run script -qec "'$CONTAINER_PATCH' check --fix a.yaml --settings-json '$SETTINGS' --insecure-registry $REGISTRY --policy-timeout 60" /dev/null <<< "$1"
  echo "output: $output"
}

@test "on a terminal it asks, and the diff cannot control the terminal" {
  command -v script > /dev/null || skip "needs script(1)"
  push 1 "$FRESH" > digest
  { pod a "$REPO:1"; printf -- '---\n# \e]0;title\a\n'; } > a.yaml
  cp a.yaml before.yaml
  on_terminal n
  [ "$status" -eq 1 ]
  assert_contains "$output" "Change 1 image in 1 file? [y/N]"
  assert_contains "$output" "nothing was written"
  assert_contains "$output" '# \u{1b}]0;title\u{7}'
  [[ "$output" != *$'\e]0;'* ]]
  cmp a.yaml before.yaml
  on_terminal ""
  cmp a.yaml before.yaml
  on_terminal y
  [ "$status" -eq 0 ]
  assert_only_images_changed a.yaml before.yaml
}

@test "the workflow of docs/fix.md opens one pull request with the changed manifests" {
  local old new script
  mkdir "$BATS_TEST_TMPDIR/bin"
  # The settings of the project, and the commands of GitHub.
  cat > "$BATS_TEST_TMPDIR/bin/container-patch" <<EOF
#!/bin/sh
exec "$CONTAINER_PATCH" "\$@" --settings-json '$SETTINGS' --insecure-registry "$REGISTRY" --policy-timeout 60
EOF
  cat > "$BATS_TEST_TMPDIR/bin/gh" <<'EOF'
#!/bin/sh
case "$1 $2" in
  "pr list") cat "$BATS_TEST_TMPDIR/open" ;;
  "pr create") echo 1 >> "$BATS_TEST_TMPDIR/open" ;;
esac
EOF
  chmod +x "$BATS_TEST_TMPDIR"/bin/*
  : > "$BATS_TEST_TMPDIR/open"
  script="$(sed -n '/^<!-- workflow -->$/,/^The job needs/s/^          //p' "$ROOT/docs/fix.md")"
  assert_contains "$script" "container-patch check --fix --yes"
  workflow() { PATH="$BATS_TEST_TMPDIR/bin:$PATH" bash -e -c "$script"; }
  old="$(push 1 "$OLD")"
  git init --quiet --bare "$BATS_TEST_TMPDIR/origin"
  git init --quiet --initial-branch main .
  git remote add origin "$BATS_TEST_TMPDIR/origin"
  mkdir -p k8s/shop
  pod web "$REPO:1@$old" "$REPO:1" > k8s/shop/web.yaml
  pod other "$REPO:gone" > k8s/other.yaml
  git add .
  git -c user.name=test -c user.email=test@example.com commit --quiet --message "Deploy the shop"
  new="$(push 1 "$NEWER")"
  workflow
  [ "$(cat "$BATS_TEST_TMPDIR/open")" = 1 ]
  [ "$(git diff --name-only main origin/update-image-digests)" = k8s/shop/web.yaml ]
  [ "$(git show origin/update-image-digests:k8s/shop/web.yaml | grep -c "$new")" -eq 2 ]
  # On the next day there is an open pull request. It is updated.
  git switch --quiet main
  new="$(push 1 2026-11-18T00:00:00Z)"
  workflow
  [ "$(cat "$BATS_TEST_TMPDIR/open")" = 1 ]
  [ "$(git show origin/update-image-digests:k8s/shop/web.yaml | grep -c "$new")" -eq 2 ]
  # Once it is merged, nothing changes.
  git switch --quiet main
  git merge --quiet update-image-digests
  git push --quiet --delete origin update-image-digests
  workflow
  [ "$(git ls-remote origin)" = "" ]
}
