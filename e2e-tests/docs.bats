#!/usr/bin/env bats
# The commands of container-patch in the README and in docs/ work, and print what is shown there.
#
# Each `console` block runs in a folder with the files that the docs name, against a registry on loopback that stands for
# registry.example.com. In the shown output, `…` stands for any text, and lines may be left out. Dates and digests are not compared.
# A `yaml` block that begins with `# NAME.yaml` is that file for the blocks below it. A comment `<!-- test: COMMAND -->` above a block
# prepares the folder. `<!-- no test: REASON -->` leaves the block out, and so does `<!-- tested by: FILE -->`: another suite runs it.
# Commands may end with exit code 1, and with 2 if the docs show their output.

load helpers
load ../hack/registry

setup_file() {
  local ago web cart
  start_registry "$BATS_FILE_TMPDIR"
  export REGISTRY REGISTRY_PID DESK="$BATS_FILE_TMPDIR/desk"
  ago() { date -u -d "$1 days ago" +%FT%TZ; }
  mkdir -p "$DESK/k8s" "$BATS_FILE_TMPDIR/bin"
  web="$(push_image shop/web 1.4 "$(ago 3)")"
  push_image shop/migrate 7 "$(ago 3)"
  push_image shop/cart 2.0 "$(ago 142)"
  # A tag that is pushed again.
  cart="$(push_image shop/cart 2 "$(ago 142)")"
  push_image shop/cart 2 "$(ago 3)"
  push_image shop/report 3 "$(ago 80)"
  push_image shop/shell 1 "$(ago 3)"
  push_image shop/debug latest "$(ago 3)"

  sed -E "s#registry.example.com#$REGISTRY#; s#(shop/web:1.4)@sha256:[0-9a-f]+#\1@$web#; s#(shop/cart:2)@sha256:[0-9a-f]+#\1@$cart#" \
    "$ROOT/examples/shop.yaml" > "$DESK/shop.yaml"
  cat > "$DESK/web.yaml" <<EOF
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: app
          image: $REGISTRY/shop/web:1.4
EOF
  cp "$DESK/web.yaml" "$DESK/k8s/"
  cp -r "$ROOT/examples" "$ROOT/deploy" "$DESK/"
  mkdir "$BATS_FILE_TMPDIR/policies"
  sed "s#registries:\$#&\n      - $REGISTRY#" "$ROOT/deploy/enforce.yaml" > "$BATS_FILE_TMPDIR/policies/enforce.yaml"
  printf 'schedule:\n  patchDays: {cron: "0 0 * * TUE#2", timeZone: Europe/Berlin, grace: 14d}\n' > "$DESK/settings.yaml"
  jq -n --arg image "$REGISTRY/shop/web" --arg digest "$web" --arg now "$(ago 0)" '
    def found($severity; $count): range($count)
      | {VulnerabilityID: "CVE-2026-\($severity)-\(.)", PkgName: "a", InstalledVersion: "1", FixedVersion: "2", Severity: $severity};
    {SchemaVersion: 2, CreatedAt: $now, ArtifactName: "\($image):1.4", ArtifactType: "container_image",
     Metadata: {RepoTags: ["\($image):1.4"], RepoDigests: ["\($image)@\($digest)"]},
     Results: [{Target: "web", Class: "os-pkgs",
       Vulnerabilities: [found("CRITICAL"; 4), found("HIGH"; 29), found("MEDIUM"; 61)]}]}' > "$BATS_FILE_TMPDIR/scan.json"
  cp "$BATS_FILE_TMPDIR/scan.json" "$DESK/"
  cp "$(BATS_TEST_TMPDIR="$BATS_FILE_TMPDIR" request v1 Pod "$(pod "$REGISTRY/shop/shell:1")")" "$DESK/request.json"

  # The programs that the docs use beside container-patch.
  cat > "$BATS_FILE_TMPDIR/bin/container-patch" <<EOF
#!/bin/sh
exec "$(realpath "$CONTAINER_PATCH")" "\$@"
EOF
  printf '#!/bin/sh\ncat "%s"\n' "$DESK/shop.yaml" > "$BATS_FILE_TMPDIR/bin/kubectl"
  printf '#!/bin/sh\ncp "%s" scan.json\n' "$BATS_FILE_TMPDIR/scan.json" > "$BATS_FILE_TMPDIR/bin/trivy"
  printf '#!/bin/sh\ncat "%s"\n' "$DESK/settings.yaml" > "$BATS_FILE_TMPDIR/bin/git"
  for program in docker crane; do printf '#!/bin/sh\n' > "$BATS_FILE_TMPDIR/bin/$program"; done
  chmod +x "$BATS_FILE_TMPDIR"/bin/*

  # The cluster of `container-patch soak`, with one pod in staging.
  export STAGING="$BATS_FILE_TMPDIR/staging"
  mkdir "$STAGING"
  jq -n --arg image "registry.example.com/shop/web@$web" --arg since "$(ago 2)" '[{
      metadata: {name: "web-6d4c-x1", namespace: "staging", creationTimestamp: $since, labels: {"pod-template-hash": "6d4c"},
        ownerReferences: [{kind: "ReplicaSet", name: "web-6d4c", controller: true}]},
      status: {conditions: [{type: "Ready", status: "True", lastTransitionTime: $since}],
        containerStatuses: [{name: "app", imageID: $image, ready: true, restartCount: 0, state: {running: {startedAt: $since}}}]}
    }]' > "$STAGING/pods.json"
  "$ROOT/e2e-tests/api-server" "$STAGING" > "$STAGING/log" 2>&1 3>&- &
  export API_SERVER_PID=$!
  for _ in {1..100}; do
    [ ! -e "$STAGING/kubeconfig" ] || break
    sleep 0.1
  done
}

teardown_file() {
  kill "$API_SERVER_PID"
  stop_registry
}

# blocks FILE FOLDER: writes the commands of each console block to NUMBER.COMMAND, and their output to NUMBER.COMMAND.out. A line with
# `$ ` is a command, and its output follows; without such a line, every line is a command.
blocks() {
  awk -v folder="$2" '
    /^ *<!-- (no test|tested by): .* -->$/ { is_left_out = 1; next }
    /^```yaml/ { is_file = 1; next }
    is_file && /^# [a-z.-]*\.yaml$/ { file = folder "/files/" $2 }
    is_file && /^```/ { if (file != "") close(file); is_file = 0; file = ""; next }
    is_file { if (file != "") print > file; else is_file = 0; next }
    /^ *<!-- test: .* -->$/ { preparation = $0; sub(/^ *<!-- test: /, "", preparation); sub(/ -->$/, "", preparation); next }
    /^ *```console/ && is_left_out { is_left_out = 0; next }
    /^ *```console/ {
      block++; command = 0; match($0, /^ */); indent = RLENGTH; inside = 1; count = 0
      if (preparation != "") print preparation > sprintf("%s/%02d.preparation", folder, block)
    }
    /./ { preparation = "" }
    /^ *```console/ { next }
    /^ *```/ && inside { inside = 0; flush_block() }
    inside { lines[++count] = substr($0, indent + 1) }
    function flush_block(  i, has_prompt, is_open, name) {
      for (i = 1; i <= count; i++) if (lines[i] ~ /^\$ /) has_prompt = 1
      for (i = 1; i <= count; i++) {
        if (is_open || !has_prompt || lines[i] ~ /^\$ /) {
          if (!is_open) name = sprintf("%s/%02d.%02d", folder, block, ++command)
          sub(/^\$ /, "", lines[i])
          print lines[i] > name
          is_open = lines[i] ~ /\\$/
        } else print lines[i] > (name ".out")
      }
    }' "$1"
}

# normalised: replaces what differs between two runs on standard input.
normalised() {
  sed -E -e "s#${REGISTRY//./\\.}#registry.example.com#g" -e 's#sha256:[0-9a-f]{6,}#sha256:DIGEST#g; s#sha256:DIGEST…#sha256:DIGEST#g' \
    -e 's#([cC]ol(umn)?"?[=:] ?)[0-9]+#\1N#g' \
    -e 's#[0-9]{4}-[0-9]{2}-[0-9]{2}#DATE#g' -e 's#[[:space:]]+# #g; s#^ ##; s# $##'
}

# missing EXPECTED FOUND: prints the first line of EXPECTED that is not in FOUND, in this order.
missing() {
  awk '
    NR == FNR { expected[++count] = $0; next }
    next_one < count && matches($0, expected[next_one + 1]) { next_one++ }
    END { if (next_one < count) print expected[next_one + 1] }
    function matches(line, pattern,  pieces, many, i, at) {
      many = split(pattern, pieces, "…")
      for (i = 1; i <= many; i++) {
        at = index(line, pieces[i])
        if (at == 0 || (i == 1 && at > 1)) return 0
        line = substr(line, at + length(pieces[i]))
      }
      return line == "" || pieces[many] == ""
    }' <(normalised < "$1") <(normalised < "$2")
}

# shell FOLDER FILE: runs the commands of a file in a folder.
shell() {
  (cd "$1" && PATH="$BATS_FILE_TMPDIR/bin:$PATH" CONTAINER_PATCH_INSECURE_REGISTRY="$REGISTRY" KUBECONFIG="$STAGING/kubeconfig" \
    bash -c "$(sed "s#registry.example.com#$REGISTRY#g" "$2")" < /dev/null)
}

# try FILE: runs the commands of a page. Prints the ones that fail.
try() {
  local folder="$BATS_TEST_TMPDIR/${1##*/}" command desk block line status allowed
  mkdir -p "$folder/files"
  blocks "$1" "$folder"
  for command in "$folder"/??.??; do
    [ -e "$command" ] || continue
    block="${command%.*}"
    grep -qE '(^|[ (])container-patch ' "$block".?? || continue
    grep -qE '^(trivy|git show|cd|mkdir) |(^|[ (])container-patch ' "$command" || continue
    desk="$block.desk/project"
    if [ ! -d "$desk" ]; then
      mkdir "$block.desk"
      cp -r "$DESK" "$desk"
      cp -r "$BATS_FILE_TMPDIR/policies" "$block.desk/"
      cp -r "$folder/files/." "$desk/"
      [ ! -e "$block.preparation" ] || shell "$desk" "$block.preparation"
    fi
    status=0
    shell "$desk" "$command" > "$command.found" 2>&1 || status=$?
    line="$([ ! -e "$command.out" ] || missing "$command.out" "$command.found")"
    allowed=1
    [ ! -e "$command.out" ] || allowed=2
    if [ "$status" -gt "$allowed" ] || [ -n "$line" ]; then
      printf '%s: %s\nstatus: %s\nexpected to find: %s\nin: %s\n\n' "${1#"$ROOT/"}" "$(cat "$command")" "$status" "$line" "$(cat "$command.found")"
    fi
  done
}

@test "the commands of the README work" {
  run try "$ROOT/README.md"
  echo "$output"
  [ "$output" = "" ]
  # At least these were run.
  [ "$(find "$BATS_TEST_TMPDIR/README.md" -name '*.found' | wc -l)" -ge 4 ]
}

@test "the commands of the docs work" {
  local page problems=""
  for page in "$ROOT"/docs/*.md; do problems+="$(try "$page")"; done
  echo "$problems"
  [ "$problems" = "" ]
  [ "$(find "$BATS_TEST_TMPDIR" -name '*.found' | wc -l)" -ge 10 ]
}
