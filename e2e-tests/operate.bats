#!/usr/bin/env bats
# The reference pages of annotations and metrics, and the page of messages, keep up with the code. The commands that replace the settings of a
# policy work: they are in docs/cookbook/README.md, docs/migrate-from-kyverno.md, docs/migrate-from-gatekeeper.md,
# docs/migrate-from-image-cve-policy.md and docs/migrate-from-policy-controller.md.
#
# They are compared with the sources, with deploy/, and with the output of the commands that export metrics.

load helpers

# sources: prints the Rust sources of the policy and of container-patch without their tests. A string that continues on the next line is
# joined.
sources() {
  find "$ROOT/src" "$ROOT/host/src" -name '*.rs' ! -name 'tests.rs' ! -path '*/tests/*' -print0 | sort -z \
    | while IFS= read -r -d '' file; do awk '/^mod tests \{/ { exit } !/^ *\/\// { print }' "$file"; done \
    | awk '/\\$/ { sub(/\\$/, ""); printf "%s", $0; is_joined = 1; next } is_joined { sub(/^ +/, ""); is_joined = 0 } { print }'
}

# first_column PAGE [HEADING]: prints what is in backticks in the first column of the tables of a page, or of a section of it.
first_column() {
  awk -v heading="${2:-}" '
    /^#+ / { is_in = heading == "" || $0 == heading; next }
    is_in && /^\| / { split(substr($0, 3), cells, " \\| "); print cells[1] }' "$ROOT/docs/$1" | grep -oE '`[^`]+`' | tr -d '`'
}

# metrics_of PAGE: prints name and type of each metric that container-patch exports, as the page has them.
metrics_of() {
  grep -oE '^\| `container_patch_[a-z_]+` \| [a-z]+' "$ROOT/docs/$1" | tr -d '|`' | awk '{ print $1, $2 }' | sort
}

# types PREFIX FILE: prints name and type of each metric with the prefix in a page of metrics.
types() { sed -n 's/^# TYPE //p' "$2" | grep "^$1" | sort; }

# same EXPECTED FOUND: fails if two lists differ, and prints the difference.
same() { diff <(sort -u <<< "$1") <(sort -u <<< "$2"); }

@test "every annotation and label that the sources name is on the page of annotations" {
  local keys key
  # Keys and prefixes of keys: a domain, a slash or a dot, and a name.
  keys="$(sources | grep -oE '"([a-z-]+\.)*(container-patch\.dev|openshift\.io|kubescape\.io|kubernetes\.io)/[A-Za-z./-]*"|"(org\.opencontainers|io\.buildpacks|com\.docker)\.[a-z.]+"' \
    | tr -d '"' | grep -vE '^(spdx\.softwarecomposition|[a-z0-9.]*policies)' | sort -u)"
  [ "$(wc -l <<< "$keys")" -ge 20 ]
  for key in $keys; do
    grep -qF "\`$key" "$ROOT/docs/annotations.md" || { echo "docs/annotations.md lacks $key"; return 1; }
  done
}

@test "every annotation on the page of annotations is in the sources" {
  local text key
  text="$(sources)"
  for key in $(first_column annotations.md '## In short' | sed -E 's/<[a-z]+>$//'); do
    # A key that consists of a prefix and a name is a constant of its own only without the name.
    grep -qF "\"$key\"" <<< "$text" || grep -qF "\"${key%recorded-at}\"" <<< "$text" || { echo "no source names $key"; return 1; }
  done
}

@test "the page of annotations has each audit annotation of a response" {
  local found
  found="$(grep -oE 'annotations\.insert\("[a-zA-Z]+"|BTreeMap::from\(\[\("[a-z]+"' "$ROOT/src/response.rs" | grep -oE '"[a-zA-Z]+"' | tr -d '"')"
  [ "$(sort -u <<< "$found" | wc -l)" -ge 5 ]
  same "$(first_column annotations.md '## Audit annotations')" "$found"
}

@test "the page of metrics has each metric of report and schedule with its type" {
  local examples="$ROOT/examples"
  "$CONTAINER_PATCH" report "$examples/shop.yaml" --settings-path "$examples/recorded/settings.yaml" --output openmetrics \
    --replay-host-capabilities-interactions "$examples/recorded/session.yaml" > "$BATS_TEST_TMPDIR/report" || [ $? -eq 1 ]
  cat > "$BATS_TEST_TMPDIR/settings.yaml" <<END
schedule: {maxAge: 90d, freezes: [{from: 12-18, to: 01-03, reason: year-end}]}
rollout: {windows: [{cron: "0 9 * * MON-THU", timeZone: Europe/Berlin, for: 8h}]}
overrides: [{images: ["docker.io/a/*"], schedule: {patchDays: {cron: "0 0 * * TUE#2", timeZone: Europe/Berlin, grace: 14d}}}]
END
  "$CONTAINER_PATCH" schedule --settings-path "$BATS_TEST_TMPDIR/settings.yaml" --output openmetrics > "$BATS_TEST_TMPDIR/schedule"
  same "$(metrics_of metrics.md | grep -E '^container_patch_(image|report)')" "$(types container_patch_ "$BATS_TEST_TMPDIR/report")"
  same "$(metrics_of metrics.md | grep '^container_patch_schedule')" "$(types container_patch_ "$BATS_TEST_TMPDIR/schedule")"
}

@test "the page of metrics has each metric of history with its type" {
  local address page="$BATS_TEST_TMPDIR/metrics"
  for _ in 1 2 3 4 5; do
    address="127.0.0.1:$(shuf -i 20000-60000 -n 1)"
    # bats waits until its file descriptor 3 is closed.
    "$CONTAINER_PATCH" history --follow --metrics-address "$address" "$ROOT/examples/recorded/audit.log" > "$page.out" 2>&1 3>&- &
    for _ in {1..100}; do
      ! curl -sf -o "$page" "http://$address/metrics" || break
      kill -0 $! 2> "$page.gone" || break
      sleep 0.1
    done
    kill $! 2> "$page.gone" || true
    wait $! || true
    [ ! -s "$page" ] || break
  done
  [ -s "$page" ]
  same "$(metrics_of metrics.md | grep '^container_patch_history')" "$(types container_patch_ "$page")"
}

@test "the page of metrics has each metric that the Swarm plugin registers" {
  local found
  found="$(tr -d '\n' < "$ROOT/host/src/commands/swarm_authz/metrics.rs" | grep -oE 'registry\.register\( *"[a-z_]+"' | grep -oE '"[a-z_]+"' | tr -d '"')"
  [ "$(wc -l <<< "$found")" -ge 10 ]
  # The library adds these endings to counters and to information.
  same "$(metrics_of metrics.md | sed -nE 's/^container_patch_swarm_([a-z_]+) .*/\1/p' | sed -E 's/_(total|info)$//')" "$found"
}

@test "the metrics of policy-server and kube-state-metrics that the rules and the dashboard use are on the page, and no others" {
  local used text
  # The rules select the metrics of containers and of init containers by one expression.
  text="$(sed -E 's/kube_pod_\(init_\)\?container_/kube_pod_container_/g' "$ROOT/monitoring/prometheus-rules.yaml" "$ROOT/monitoring/dashboard.py")"
  used="$(grep -oE '\b(kubewarden_policy|kube_pod|kube_replicaset)_[a-z_]+' <<< "$text" | sed -E 's/_bucket$//' | sort -u)"
  same "$(first_column metrics.md | grep -E '^kube(warden)?_' | grep -v '^kube_pod_init_container_')" "$used"
}

# messages PAGE HEADER: prints the messages in the column of tables that has this header, one per line.
messages() {
  python3 - "$ROOT/docs/$1" "$2" <<'END'
import re, sys

column = None
for line in open(sys.argv[1], encoding="utf-8"):
    cells = re.split(r" \| |^\| | \|$", line.rstrip("\n"))[1:-1] if line.startswith("| ") else []
    if not cells:
        column = None
    elif sys.argv[2] in cells:
        column = cells.index(sys.argv[2])
    elif column is not None and column < len(cells) and not cells[column].startswith("---"):
        for double, single in re.findall(r"``(.+?)``(?!`)|`([^`]+)`", cells[column]):
            print((double or single).strip())
END
}

# unknown: prints the messages on standard input that no string of the sources has. `…` stands for any text.
unknown() {
  sources > "$BATS_TEST_TMPDIR/sources"
  python3 -c '
import re, sys

# Line by line, because a quote in a character or in a raw string would otherwise change what counts as a string.
lines = [line.replace(chr(39) + chr(34) + chr(39), "") for line in open(sys.argv[1], encoding="utf-8")]
found = [string for line in lines for string in re.findall(r"\"((?:[^\"\\]|\\.)*)\"", line)]
# A string can begin with another one that several messages share.
constants = dict(re.findall(r"const ([A-Z_]+): &str = \"([^\"]*)\"", "".join(lines)))
found = [re.sub(r"\{([A-Z_]+)\}", lambda name: constants.get(name[1], name[0]), string) for string in found]
strings = [re.sub(r"\\(.)", r"\1", string).replace("{{", "{").replace("}}", "}") for string in found]
for message in sys.stdin.read().splitlines():
    parts = [part for part in (part.strip() for part in message.split("…")) if len(part) > 3]
    if not parts or not all(any(part in string for string in strings) for part in parts):
        print(message)
' "$BATS_TEST_TMPDIR/sources"
}

@test "each message of the policy and of container-patch on the page of messages is in the sources" {
  local header list
  command -v python3 > "$BATS_TEST_TMPDIR/python3" || skip "python3 is not installed"
  for header in "message of the policy" "message of container-patch"; do
    list="$(messages troubleshooting.md "$header")"
    [ "$(wc -l <<< "$list")" -ge 20 ]
    list="$(unknown <<< "$list")"
    echo "$header: no source has: $list"
    [ "$list" = "" ]
  done
}

@test "each message of deploy/apply and of the chart on the page of messages is in their text" {
  local message part text
  text="$(sed 's/\\`/`/g' "$ROOT/deploy/apply" "$ROOT"/deploy/helm/container-patch-policy/templates/*)"
  command -v python3 > "$BATS_TEST_TMPDIR/python3" || skip "python3 is not installed"
  messages troubleshooting.md "message of deploy/" > "$BATS_TEST_TMPDIR/list"
  [ "$(wc -l < "$BATS_TEST_TMPDIR/list")" -ge 5 ]
  while read -r message; do
    while read -r part; do
      [ "${#part}" -le 3 ] || grep -qF -- "$part" <<< "$text" || { echo "\`$part\` of \`$message\` is not in deploy/"; return 1; }
    done < <(sed 's/ *… */\n/g' <<< "$message")
  done < "$BATS_TEST_TMPDIR/list"
}

@test "the page of messages links to the page of each finding" {
  local code
  for code in $(sed -n 's/^| \[`\([a-z-]*\)`\](.*/\1/p' "$ROOT/docs/findings.md") local-image unseen-image; do
    grep -qE "^\| \[\`$code\`\]\(($code\.md|#$code)\)" "$ROOT/docs/troubleshooting.md" || { echo "no link to $code"; return 1; }
    [ -e "$ROOT/docs/$code.md" ]
  done
}

# replacement PAGE: prints the commands of a page that this suite runs.
replacement() {
  awk '/^ *<!-- tested by: e2e-tests\/operate.bats -->$/ { marked = 1; next }
    /^ *```console/ && marked { inside = 1; marked = 0; next }
    /^ *```/ { inside = 0 }
    inside { sub(/^ +/, ""); print }' "$ROOT/docs/$1"
}

@test "the commands of the recipes and of the migration pages replace the settings of a policy, and nothing else" {
  local page minor
  command -v kubectl > "$BATS_TEST_TMPDIR/kubectl" || skip "kubectl is not installed"
  minor="$(kubectl version --client --output json 2> "$BATS_TEST_TMPDIR/errors" | jq -r '.clientVersion.minor | sub("[^0-9].*"; "")')"
  [ "$minor" -ge 21 ] || skip "kubectl 1.$minor does not have --patch-file; 1.21 or later does"
  cd "$BATS_TEST_TMPDIR"
  cp -r "$ROOT/deploy" .
  mkdir bin
  ln -s "$(realpath "$CONTAINER_PATCH")" bin/container-patch
  as_json() { kubectl annotate --local --filename "$1" --output json e2e.container-patch.dev/file=x | jq -S "$2"; }
  for page in cookbook/README.md migrate-from-{kyverno,gatekeeper,image-cve-policy,policy-controller}.md; do
    awk '/^```/ { inside = 0 } inside { print } before ~ /^```yaml/ && $0 == "# settings.yaml" { inside = 1 } { before = $0 }' "$ROOT/docs/$page" > settings.yaml
    # The page of recipes has no settings of its own.
    [ -s settings.yaml ] || cp "$ROOT/examples/cookbook/patch-day/settings.yaml" .
    replacement "$page" > commands
    [ "$(wc -l < commands)" -eq 3 ]
    PATH="$PWD/bin:$PATH" run bash -e commands
    echo "$page: $output"
    [ "$status" -eq 0 ]
    diff <(as_json deploy/enforce.yaml 'del(.spec.settings)') <(as_json enforce.yaml 'del(.spec.settings)')
    { printf '%s\n' 'apiVersion: policies.kubewarden.io/v1' 'kind: ClusterAdmissionPolicy' 'metadata: {name: x}' 'spec:' '  settings:'; sed 's/^/    /' settings.yaml; } > expected.yaml
    diff <(as_json expected.yaml .spec.settings) <(as_json enforce.yaml .spec.settings)
    [ "$(as_json enforce.yaml '.spec.settings.registries | length')" -gt 0 ]
  done
}
