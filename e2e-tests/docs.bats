#!/usr/bin/env bats
# The commands in the Markdown files of the project work, and print what is shown there.
#
# Each `console` block runs in a folder with the files that the docs name, against a registry on loopback that stands for
# registry.example.com. A line with `$ ` is a command, and its output follows; without such a line, every line is a command. In the shown
# output, `…` stands for any text, and lines may be left out. Dates and digests are not compared. A `yaml` block that begins with
# `# NAME.yaml` is that file for the blocks below it. A block can have one comment, on the line directly above it:
#   <!-- test: COMMAND -->       prepares the folder
#   <!-- no test: REASON -->     the block is not run
#   <!-- tested by: FILE -->     another suite runs the block; it names the page
# A command of container-patch may end with exit code 1, and with 2 if its output is shown. Other commands end with 0.

load helpers
load shown_output
load ../hack/registry

setup_file() {
  local web cart
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
  # kubectl, helm, Kustomize and Docker print manifests, and kubectl takes files that exist. kwctl has the flags of `container-patch run`.
  cat > "$BATS_FILE_TMPDIR/bin/kubectl" <<EOF
#!/bin/bash
case "\$1" in
  get) exec cat "$DESK/shop.yaml" ;;
  apply) ;;
  *) echo "kubectl \$*: unknown call" >&2; exit 64 ;;
esac
[[ " \$* " == *" -f "* || " \$* " == *" --filename "* ]] || { echo "kubectl \$*: no file" >&2; exit 64; }
while [ \$# -gt 0 ]; do
  if [ "\$1" = -f ] || [ "\$1" = --filename ]; then ls -d "\$2" || exit 1; fi
  shift
done
EOF
  for program in helm kustomize; do printf '#!/bin/sh\ncat "%s"\n' "$DESK/shop.yaml" > "$BATS_FILE_TMPDIR/bin/$program"; done
  printf '#!/bin/sh\ncp "%s" scan.json\n' "$BATS_FILE_TMPDIR/scan.json" > "$BATS_FILE_TMPDIR/bin/trivy"
  cat > "$BATS_FILE_TMPDIR/bin/git" <<EOF
#!/bin/sh
[ "\$1" != show ] || cat "$DESK/settings.yaml"
EOF
  printf '#!/bin/sh\ngrep "^.TH"\n' > "$BATS_FILE_TMPDIR/bin/man"
  printf '#!/bin/sh\nshift 2\nexec container-patch run "$@"\n' > "$BATS_FILE_TMPDIR/bin/kwctl"
  printf '#!/bin/sh\ncase "$*" in *" config"*) cat ../config.yaml ;; esac\n' > "$BATS_FILE_TMPDIR/bin/docker"
  printf '#!/bin/sh\n' > "$BATS_FILE_TMPDIR/bin/crane"
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

# The programs that setup_file replaces: what they print is not what the real ones print.
STUBS='kubectl|helm|kustomize|kwctl|trivy|git|man|docker|crane'

# pages: prints the path of each page of the docs.
pages() {
  find "$ROOT"/*.md "$ROOT"/{deploy,docs,examples,fuzz,monitoring} -name '*.md' ! -path '*/target/*' | sort
}

# blocks PAGE FOLDER: prints a line for each command block of a page: its number, its line, its language, and the comment above it. Writes
# its lines to NUMBER.lines, and each file of a `yaml` block to NUMBER.file.NAME, where NUMBER is the block before the file. Writes each
# `yaml` block to line-LINE.yaml, too. What cannot be tested has the language `?`: a comment about a block that is not above one, a block of
# another language that has a line with `$ `, a block in a quote, a block without an end.
blocks() {
  awk -v folder="$2" '
    { above = current; current = $0 }
    !inside && above ~ /^ *<!-- (test|no test|tested by):/ && $0 !~ /^ *```console *$/ { print 0, FNR - 1, "?", above }
    !inside && /^ *(>|[-*]|[0-9]+\.)[ >]*(```|~~~)/ { print 0, FNR, "?", "a block that does not begin on a line of its own" }
    !inside && match($0, /^ *(````*|~~~~*)/) {
      inside = 1; count = 0; first = FNR; has_prompt = 0; comment = above
      marker = substr($0, 1, RLENGTH); indent = match(marker, /[`~]/) - 1; marker = substr(marker, indent + 1)
      language = substr($0, indent + length(marker) + 1); sub(/^ +/, "", language); sub(/[ ,{].*/, "", language)
      sub(/^ +/, "", comment); if (comment !~ /^<!--/) comment = ""
      next
    }
    !inside { next }
    {
      text = $0; gsub(/^ +| +$/, "", text)
      if (index(text, marker) == 1 && text !~ /[^`~]/) { inside = 0; finish(); next }
      text = $0; if (substr(text, 1, indent) ~ /^ *$/) text = substr(text, indent + 1)
      lines[++count] = text
      if (text ~ /^\$ /) has_prompt = 1
    }
    END { if (inside) print 0, first, "?", "a block without an end" }
    function finish(  file, i) {
      file = ""
      if (language == "yaml" && count > 0) {
        file = folder "/line-" first ".yaml"
        for (i = 1; i <= count; i++) print lines[i] > file
        close(file); file = ""
      }
      if (language ~ /^(console|sh|bash|zsh|shell|shell-session|terminal)$/) file = sprintf("%s/%03d.lines", folder, ++block)
      else if (language == "yaml" && lines[1] ~ /^# [A-Za-z0-9.-]+\.yaml$/) file = sprintf("%s/%03d.file.%s", folder, block, substr(lines[1], 3))
      else if (has_prompt) { print 0, first, "?", "a block with a prompt"; return }
      else return
      printf "" > file
      for (i = 1; i <= count; i++) print lines[i] > file
      close(file)
      if (file ~ /\.lines$/) printf "%03d %d %s %s\n", block, first, language, comment
    }' "$1"
}

# kind COMMENT: prints how a block with this comment is tested: run, elsewhere or not.
kind() {
  case "$1" in
    '<!-- no test: '*) echo not ;;
    '<!-- tested by: '*) echo elsewhere ;;
    *) echo run ;;
  esac
}

# is_open FILE: whether a command goes on in the next line.
is_open() {
  [[ "$(tail -n 1 "$1")" != *\\ ]] || return 0
  # A quote or a here-document that does not end is a message on standard error.
  [ "$(bash -n "$1" 2>&1)" != "" ]
}

# commands BLOCK: writes the commands in BLOCK.lines to BLOCK.01, BLOCK.02 and so on, and their shown output to BLOCK.01.out.
commands() {
  local line has_prompt="" count=0 command="" goes_on=""
  ! grep -q '^\$ ' "$1.lines" || has_prompt=1
  while IFS= read -r line; do
    if [ -n "$goes_on" ]; then
      printf '%s\n' "$line" >> "$command"
      is_open "$command" || goes_on=""
    elif [ -n "$has_prompt" ] && [[ "$line" != '$ '* ]]; then
      [ -z "$command" ] || printf '%s\n' "$line" >> "$command.out"
    elif [ -n "$line" ]; then
      count=$((count + 1))
      command="$(printf '%s.%02d' "$1" "$count")"
      printf '%s\n' "${line#\$ }" > "$command"
      ! is_open "$command" || goes_on=1
    fi
  done < "$1.lines"
}

# normalised: replaces what differs between two runs on standard input.
normalised() {
  sed -E -e "s#${REGISTRY//./\\.}#registry.example.com#g" -e 's#sha256:[0-9a-f]{6,}#sha256:DIGEST#g; s#sha256:DIGEST…#sha256:DIGEST#g' \
    -e 's#([cC]ol(umn)?"?[=:] ?)[0-9]+#\1N#g' \
    -e 's#[0-9]{4}-[0-9]{2}-[0-9]{2}#DATE#g' -e 's#[[:space:]]+# #g; s#^ ##; s# $##'
}

# shell FOLDER FILE…: runs the commands of files in a folder, in one shell. Writes the output of each to FILE.found, and its exit code to
# FILE.status.
shell() {
  local folder="$1" file cache="${XDG_CACHE_HOME:-$HOME/.cache}"
  shift
  for file in "$@"; do sed "s#registry.example.com#$REGISTRY#g" "$file" > "$file.here"; done
  # shellcheck disable=SC2016 # The inner shell expands it.
  (cd "$folder" && PATH="$BATS_FILE_TMPDIR/bin:$PATH" HOME="$(dirname "$folder")/home" XDG_CACHE_HOME="$cache" \
    KUBECONFIG="$STAGING/kubeconfig" CONTAINER_PATCH_INSECURE_REGISTRY="$REGISTRY" timeout 60 bash -o pipefail -c '
      _status=0
      for _file; do
        _text="$(< "$_file.here")"
        (exit "$_status")
        eval "$_text" > "$_file.found" 2>&1
        _status=$?
        echo "$_status" > "$_file.status"
      done' bash "$@" < /dev/null)
}

# try PAGE: runs the commands of a page. Prints the ones that fail.
try() {
  local page="${1#"$ROOT/"}" folder number line language comment block file command status allowed shown
  folder="$BATS_TEST_TMPDIR/${page//\//-}"
  mkdir "$folder"
  blocks "$1" "$folder" > "$folder/blocks"
  while read -r number line language comment; do
    if [ "$language" != console ] || [ "$(kind "$comment")" != run ]; then continue; fi
    block="$folder/$number"
    mkdir -p "$block.desk/home"
    cp -r "$DESK" "$block.desk/project"
    cp -r "$BATS_FILE_TMPDIR/policies" "$block.desk/"
    for file in "$folder"/*.file.*; do
      if [ -e "$file" ] && [[ "${file##*/}" < "$number" ]]; then cp "$file" "$block.desk/project/${file##*.file.}"; fi
    done
    if [[ "$comment" == '<!-- test: '* ]]; then
      comment="${comment#<!-- test: }"
      echo "${comment% -->}" > "$block.preparation"
      shell "$block.desk/project" "$block.preparation"
      [ "$(cat "$block.preparation.status")" = 0 ] || printf '%s:%s: the preparation fails: %s\n\n' "$page" "$line" "$(cat "$block.preparation.found")"
    fi
    commands "$block"
    shell "$block.desk/project" "$block".[0-9][0-9] || printf '%s:%s: the shell of the block ends with status %s\n\n' "$page" "$line" "$?"
    for command in "$block".[0-9][0-9]; do
      status="$(cat "$command.status" || echo "none, it was not run")"
      shown="$([ ! -e "$command.out" ] || missing "$command.out" "$command.found")"
      allowed='^0$'
      if grep -qE '(^|[ (])container-patch ' "$command"; then
        allowed='^[01]$'
        [ ! -e "$command.out" ] || allowed='^[012]$'
      fi
      # In a pipeline, the exit code can be that of another command.
      ! grep -q ': command not found$' "$command.found" || shown="all programs"
      if [ -e "$command.out" ] && tail -n 1 "$command" | sed 's/.*[|&;] *//' | grep -qE "^($STUBS) "; then
        shown="the output of the real program, not of the one that this test has instead"
      fi
      if ! [[ "$status" =~ $allowed ]] || [ -n "$shown" ]; then
        printf '%s:%s: %s\nstatus: %s\nexpected to find: %s\nin: %s\n\n' "$page" "$line" "$(cat "$command")" "$status" "$shown" "$(cat "$command.found")"
      fi
    done
  done < "$folder/blocks"
}

@test "every command block of the docs is run or says why not" {
  local page name number line language comment reason file problems="" run=0 elsewhere=0 not=0
  while read -r page; do
    name="${page#"$ROOT/"}"
    while read -r number line language comment; do
      if [ "$language" = '?' ]; then
        problems+="$name:$line: $comment; expected a block of the language \`console\` on lines of its own"$'\n'
        continue
      fi
      [ "$language" = console ] || problems+="$name:$line: the language is \`$language\`; expected \`console\`"$'\n'
      case "$(kind "$comment")" in
        run) run=$((run + 1)) ;;
        not)
          not=$((not + 1))
          reason="${comment#<!-- no test: }"
          [ "$(wc -w <<< "${reason% -->}")" -ge 3 ] || problems+="$name:$line: the reason \`${reason% -->}\` is shorter than three words"$'\n'
          while read -r file; do
            [ -f "$ROOT/$file" ] || problems+="$name:$line: $file does not exist"$'\n'
          done < <(grep -oE '[a-z0-9_-]+/[a-z0-9_/-]+\.(bats|rs)' <<< "$reason")
          ;;
        elsewhere)
          elsewhere=$((elsewhere + 1))
          reason="${comment#<!-- tested by: }"
          reason="${reason% -->}"
          if [ ! -f "$ROOT/$reason" ]; then
            problems+="$name:$line: $reason does not exist"$'\n'
          elif ! grep -qF "$name" "$ROOT/$reason"; then
            problems+="$name:$line: $reason does not name $name"$'\n'
          fi
          ;;
      esac
    done < <(blocks "$page" "$BATS_TEST_TMPDIR")
  done < <(pages)
  echo "$problems"
  [ "$problems" = "" ]
  [ "$run" -ge 80 ]
  echo "# $run command blocks are run, $elsewhere are run by other suites, $not are not run" >&3
}

@test "the commands of the docs work" {
  local page count=0 problems
  while read -r page; do
    count=$((count + 1))
    { try "$page" || echo "$page: stopped"; } > "$BATS_TEST_TMPDIR/$count.problems" 2>&1 3>&- &
    [ "$((count % 4))" -ne 0 ] || wait
  done < <(pages)
  wait
  problems="$(cat "$BATS_TEST_TMPDIR"/*.problems)"
  echo "$problems"
  [ "$problems" = "" ]
  # At least these were run.
  [ "$(find "$BATS_TEST_TMPDIR" -name '*.status' ! -name '*.preparation.status' | wc -l)" -ge 120 ]
}

@test "the settings in the docs are valid" {
  local page file keys folder problems="" count=0 number=0
  keys="$(jq -r '.properties | keys | join("|")' "$ROOT/docs/settings.schema.json")"
  while read -r page; do
    number=$((number + 1))
    folder="$BATS_TEST_TMPDIR/$number"
    mkdir "$folder"
    blocks "$page" "$folder" > "$folder/blocks"
    for file in "$folder"/line-*.yaml; do
      # Others are manifests.
      if [ ! -e "$file" ] || grep -qvE "^( |#|$|($keys):)" "$file" || ! grep -qE "^($keys):" "$file"; then continue; fi
      count=$((count + 1))
      run "$CONTAINER_PATCH" validate --settings-path "$file"
      [ "$status" -eq 0 ] || problems+="${page#"$ROOT/"}: $output"$'\n'
    done
  done < <(pages)
  echo "$count: $problems"
  [ "$problems" = "" ]
  [ "$count" -ge 30 ]
}
