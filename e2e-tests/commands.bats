#!/usr/bin/env bats
# The small commands: validate, explain, init, test, schedule, completions and man. The commands in docs/commands.md are run again.

load helpers

setup() {
  cd "$BATS_TEST_TMPDIR"
  # A configuration file above this folder is not for these tests.
  export CONTAINER_PATCH_NO_CONFIG=1
}

# cmd ARGUMENT…: runs container-patch.
cmd() {
  run --separate-stderr "$CONTAINER_PATCH" "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

# write_files PAGE: writes the files in its blocks of YAML, which begin with the name of the file as a comment.
write_files() {
  awk '/^```yaml$/ {getline; file = $2; sub(/^# */, "", file); printf "" > file; next}
       /^```/ {file = ""}
       file {print > file}' "$1"
}

# steps PAGE: prints the commands in its console blocks, and their output, as lines "$ command", "> line of output". Blocks without a prompt
# show no output.
steps() {
  awk '/^```console$/ {inside = 1; has_prompt = 0; next}
       /^```/ {inside = 0}
       inside && /^\$ / {has_prompt = 1; print; next}
       inside && has_prompt {print "> " $0}' "$1"
}

# matches EXPECTED FOUND: whether two outputs are the same. In the expected one, `…` stands for any text.
matches() {
  local pattern
  pattern="$(printf '%s' "$1" | sed 's/[][\\*?]/\\&/g; s/…/*/g')"
  # shellcheck disable=SC2053 # It is a pattern.
  [[ "$2" == $pattern ]]
}

@test "the commands in docs/commands.md have the output that it shows" {
  cp -r "$ROOT/examples" "$ROOT/deploy" .
  mkdir bin
  ln -s "$CONTAINER_PATCH" bin/container-patch
  PATH="$PWD/bin:$PATH"
  write_files "$ROOT/docs/commands.md"
  steps "$ROOT/docs/commands.md" > steps
  # Settings files have the name of the file as their first line.
  sed -i '1i # settings.yaml' settings.yaml
  local count=0 command="" expected="" found
  while IFS= read -r line || [ -n "$command" ]; do
    if [[ "$line" == '> '* ]]; then
      expected+="${line#> }"$'\n'
      continue
    fi
    if [ -n "$command" ]; then
      # Lines of a calendar end with CR LF.
      found="$(bash -c "$command" 2>&1 | tr -d '\r' || true)"
      matches "${expected%$'\n'}" "$found" || {
        printf 'command:  %s\nexpected: %s\nfound:    %s\n' "$command" "$expected" "$found"
        return 1
      }
      count=$((count + 1))
    fi
    command="${line#\$ }" expected=""
  done < steps
  [ "$count" -eq "$(grep -c '^\$ ' steps)" ]
  [ "$count" -ge 10 ]
}

@test "validate reports all problems with their places, and the exit code is 2" {
  printf 'schedule:\n  maxAge: 90\n  freezes:\n    - {from: 2027-01-03, to: 2026-12-18, reason: swapped}\nexemt: []\n' > settings.yaml
  cmd validate --settings-path settings.yaml
  [ "$status" -eq 2 ]
  [ "${#lines[@]}" -eq 4 ]
  assert_contains "${lines[0]}" 'settings.yaml:2:3: schedule.maxAge: `90` has no unit'
  assert_contains "${lines[1]}" 'settings.yaml:4:8: schedule.freezes[0]: '
  assert_contains "${lines[2]}" 'settings.yaml:5:1: exemt: unknown key; did you mean `exempt`?'
  [ "${lines[3]}" = "settings.yaml: invalid, with 3 problems" ]
  cmd validate --settings-path settings.yaml --output json
  [ "$status" -eq 2 ]
  [ "$(jq -c '[.valid, (.policies[] | .policy, .source, .valid, (.problems | length), (.warnings | length))]' <<< "$output")" = \
    '[false,null,"settings.yaml",false,3,0]' ]
}

@test "validate accepts valid settings with warnings, which it prints once" {
  cmd validate --settings-json '{"registries": ["*"]}'
  [ "$status" -eq 0 ]
  [ "$stderr" = "" ]
  assert_contains "${lines[0]}" '--settings-json: warning: registries[0]: `*` matches every host'
  [ "${lines[1]}" = "--settings-json: valid, with 1 warning" ]
}

@test "validate warns about a policy that may not read the record of staging" {
  policy() {
    printf 'apiVersion: policies.kubewarden.io/v1\nkind: %s\nmetadata: {name: enforce}\nspec:\n%s  settings:\n    rollout:\n      soak: {configMaps: [{namespace: a, name: b}], for: 24h}\n' "$1" "$2" > policy.yaml
  }
  policy ClusterAdmissionPolicy ''
  cmd validate --settings-path policy.yaml
  [ "$status" -eq 0 ]
  assert_contains "$output" 'policy.yaml:7:7: warning: rollout.soak: the policy cannot read the ConfigMaps; add `{apiVersion: v1, kind: ConfigMap}` to `spec.contextAwareResources`'
  assert_contains "$output" "policy.yaml (policy enforce): valid, with 1 warning"
  policy ClusterAdmissionPolicy $'  contextAwareResources: [{apiVersion: v1, kind: ConfigMap}]\n'
  cmd validate --settings-path policy.yaml
  [ "$output" = "policy.yaml (policy enforce): valid" ]
  policy AdmissionPolicy $'  contextAwareResources: [{apiVersion: v1, kind: ConfigMap}]\n'
  cmd validate --settings-path policy.yaml
  assert_contains "$output" "warning: rollout.soak: an AdmissionPolicy cannot read the ConfigMaps; use a ClusterAdmissionPolicy"
}

@test "validate without settings is an error that names the flags" {
  cmd validate
  [ "$status" -eq 2 ]
  [ "$output" = "" ]
  [ "$stderr" = "Error: no settings are given; use --settings-path, --settings-json, or a configuration file with settings" ]
  printf 'namespace: shop\n' > container-patch.yaml
  cmd validate --config container-patch.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "Error: no settings are given"
}

@test "validate reports the settings of each policy, and of a configuration, with their lines" {
  printf 'apiVersion: policies.kubewarden.io/v1\nkind: ClusterAdmissionPolicy\nmetadata: {name: pin}\nspec:\n  settings:\n    exempt: []\n---\n' > policies.yaml
  printf 'apiVersion: policies.kubewarden.io/v1\nkind: AdmissionPolicy\nmetadata: {name: enforce, namespace: shop}\nspec:\n  settings:\n    exempt: 1\n' >> policies.yaml
  cmd validate --settings-path policies.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" "policies.yaml (policy pin): valid"
  assert_contains "$output" "policies.yaml:13:5: exempt: expected a list, found a number"
  assert_contains "$output" "policies.yaml (policy shop/enforce): invalid, with 1 problem"
  printf 'ignore: [a]\nsettings:\n  exempt: 1\n' > container-patch.yaml
  cmd validate --config container-patch.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" "container-patch.yaml:3:3: exempt: expected a list, found a number"
}

@test "validate reports files that cannot be read, and the exit code is 2" {
  printf 'a: [\n' > broken.yaml
  cmd validate --settings-path broken.yaml
  [ "$status" -eq 2 ]
  assert_contains "${lines[0]}" "broken.yaml:2:1: invalid YAML: did not find expected node content"
  [ "${lines[1]}" = "broken.yaml: invalid, with 1 problem" ]
  printf 'exempt: []\nscan: {}\nexempt: []\n' > twice.yaml
  cmd validate --settings-path twice.yaml
  [ "$status" -eq 2 ]
  assert_contains "${lines[0]}" 'twice.yaml:3:1: invalid YAML: duplicate entry with key "exempt"'
  cmd validate --settings-path missing.yaml
  [ "$status" -eq 2 ]
  assert_contains "${lines[0]}" "missing.yaml: cannot open the file: No such file"
  printf 'apiVersion: v1\nkind: ConfigMap\ndata: {}\n' > configmap.yaml
  cmd validate --settings-path configmap.yaml
  [ "$status" -eq 2 ]
  [ "${lines[0]}" = "configmap.yaml: this is a ConfigMap, not settings" ]
}

@test "validate prints JSON for settings that cannot be read" {
  printf 'a: [\n' > broken.yaml
  mkdir empty
  cmd validate --settings-path broken.yaml --settings-path missing.yaml --output json
  [ "$status" -eq 2 ]
  [ "$(jq -c '[.valid, (.policies[] | .source, .valid, (.problems[] | .line, .column))]' <<< "$output")" = \
    '[false,"broken.yaml",false,2,1,"missing.yaml",false,null,null]' ]
  cmd validate --settings-path empty --output json
  [ "$status" -eq 2 ]
  [ "$(jq -c '.policies[] | [.source, .problems[].message]' <<< "$output")" = '["empty","no policies in the folder empty"]' ]
  cmd validate --settings-json '{' --output json
  [ "$status" -eq 2 ]
  assert_contains "$(jq -r '.policies[] | .source + ": " + .problems[].message' <<< "$output")" "--settings-json: cannot parse settings JSON: "
}

@test "explain shows the page of every code, without escape sequences in a pipe" {
  cmd explain
  [ "$status" -eq 0 ]
  local codes=("${lines[@]%% *}")
  [ "${#codes[@]}" -ge 25 ]
  for code in "${codes[@]}"; do
    cmd explain "$code"
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "$code" ]
    assert_contains "$output" "What to do."
    [[ "$output" != *$'\e'* ]]
  done
  cmd explain "[stale-image]"
  [ "$status" -eq 0 ]
}

@test "explain styles the page on a terminal, unless NO_COLOR is set" {
  command -v script > /dev/null || skip "script is required, for a terminal"
  run script -qec "$CONTAINER_PATCH explain stale-image" /dev/null
  assert_contains "$output" $'\e[1mstale-image'
  NO_COLOR=1 run script -qec "$CONTAINER_PATCH explain stale-image" /dev/null
  [[ "$output" != *$'\e['* ]]
}

@test "explain shows links as addresses" {
  cmd explain forbidden-tag
  assert_contains "$output" "(https://github.com/container-patch/container-patch-policy/blob/main/docs/settings.md#pinning)"
  [[ "$output" != *"(settings.md"* ]]
}

@test "explain suggests the nearest code, and the exit code is 2" {
  cmd explain unpinned-imag
  [ "$status" -eq 2 ]
  [ "$stderr" = 'Error: unknown code `unpinned-imag`; did you mean `unpinned-image`?' ]
}

@test "init writes the settings of every preset, which are valid" {
  cmd init
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "give the name of a preset"
  for file in "$ROOT"/examples/presets/*.yaml; do
    preset="$(basename "$file" .yaml)"
    cmd init
    assert_contains "$stderr" "  $preset"
    cmd init "$preset" --output-path "$preset.yaml"
    [ "$status" -eq 0 ]
    assert_contains "$(head -n 1 "$preset.yaml")" '# yaml-language-server: $schema='
    cmd validate --settings-path "$preset.yaml"
    [ "$status" -eq 0 ]
    [ "$output" = "$preset.yaml: valid" ]
    cmd init "$preset" --output-path -
    diff "$preset.yaml" - <<< "$output"
  done
}

@test "init asks on a terminal for the number or the name of a preset" {
  command -v script > /dev/null || skip "script is required, for a terminal"
  run script -qec "$CONTAINER_PATCH init --output-path one.yaml" /dev/null <<< 1
  assert_contains "$output" "1) disa-srg "
  assert_contains "$output" "Wrote one.yaml from the preset disa-srg."
  run script -qec "$CONTAINER_PATCH init --output-path two.yaml" /dev/null <<< pci-dss-4
  assert_contains "$output" "Wrote two.yaml from the preset pci-dss-4."
}

@test "init does not overwrite a file without --force" {
  echo mine > container-patch-settings.yaml
  cmd init monthly-patch-day
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "exists already"
  [ "$(cat container-patch-settings.yaml)" = mine ]
  cmd init monthly-patch-day --force
  [ "$status" -eq 0 ]
  grep -q patchDays container-patch-settings.yaml
  cmd init monthly
  [ "$status" -eq 2 ]
  assert_contains "$stderr" 'unknown preset `monthly`; did you mean `monthly-patch-day`?'
}

@test "init with --configuration writes a configuration that the other commands use" {
  mkdir inner
  cmd init pci-dss-4 --configuration --output-path pci.yaml
  [ "$status" -eq 0 ]
  cd inner
  unset CONTAINER_PATCH_NO_CONFIG
  cmd validate
  [ "$status" -eq 0 ]
  assert_contains "$output" "../pci.yaml: valid"
}

# test_file CASES [KEYS]: writes a test file with QUIET.
test_file() { printf 'settings: %s\n%s\ncases:\n%s\n' "$QUIET" "${2:-}" "$1" > container-patch-test.yaml; }
pod_of() { printf '{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: app, image: "%s"}]}}' "$1"; }

@test "test compares verdicts and codes" {
  test_file "  - {manifest: $(pod_of nginx:1), expect: {verdict: denied, codes: [unpinned-image]}}
  - {manifest: $(pod_of "nginx@$DIGEST"), expect: {verdict: accepted, codes: []}}"
  cmd test .
  [ "$status" -eq 0 ]
  assert_contains "$output" "2 cases: 2 as expected, 0 different"
  test_file "  - {manifest: $(pod_of nginx:1), expect: {verdict: accepted, codes: [stale-image]}}"
  cmd test container-patch-test.yaml
  [ "$status" -eq 1 ]
  assert_contains "$output" "- verdict: accepted"
  assert_contains "$output" "+ verdict: denied"
  assert_contains "$output" "- codes: [stale-image]"
  assert_contains "$output" "+ codes: [unpinned-image]"
  assert_contains "$output" 'container `app`: image `nginx:1` has no digest'
}

@test "test selects objects of a manifest, and reports those without an expectation" {
  { printf 'apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\n'; pod_of nginx:1; printf '\n---\n'; pod_of "nginx@$DIGEST" | sed 's/name: web/name: shell/'; } > all.yaml
  test_file "  - {manifest: all.yaml, expect: [{kind: Pod, name: web, verdict: denied}, {name: shell, namespace: default, verdict: accepted}]}"
  cmd test container-patch-test.yaml
  [ "$status" -eq 0 ]
  test_file "  - {manifest: all.yaml, expect: [{kind: Pod, name: web, verdict: denied}, {kind: Job, verdict: accepted}]}"
  cmd test container-patch-test.yaml
  [ "$status" -eq 1 ]
  assert_contains "$output" "- (no expectation)"
  assert_contains "$output" "+ verdict: accepted, codes: []"
  assert_contains "$output" "- kind: Job"
}

@test "test judges at a given time, with recorded answers in any order" {
  cp -r "$ROOT/examples" .
  cmd test examples
  [ "$status" -eq 0 ]
  sed -i 's/2026-12-01/2026-11-25/' examples/recorded/container-patch-test.yaml
  cmd test examples
  [ "$status" -eq 1 ]
  assert_contains "$output" "+ codes: [patch-due]"
  # Without the session there are no answers, and no registry is contacted.
  sed -i '/^session/d' examples/recorded/container-patch-test.yaml
  cmd test examples
  [ "$status" -eq 2 ]
  assert_contains "$output" "ERROR ../shop.yaml: no answer was recorded for the question"
  assert_contains "$output" 'record the session again with `container-patch check --record-host-capabilities-interactions FILE`'
}

@test "test accepts a question without an answer if the case expects it" {
  test_file "  - {manifest: $(pod_of nginx:1), expect: {codes: [evidence-unavailable]}}"
  sed -i 's/^settings: .*/settings: {scan: {action: "off"}, pinning: {action: "off"}}/' container-patch-test.yaml
  cmd test container-patch-test.yaml
  [ "$status" -eq 0 ]
}

@test "test uses the settings of the command line for files without settings" {
  printf 'cases: [{manifest: %s, expect: {verdict: denied, codes: [unpinned-image]}}]\n' "$(pod_of nginx:1)" > container-patch-test.yaml
  cmd test container-patch-test.yaml --settings-json "$QUIET"
  [ "$status" -eq 0 ]
  cmd test container-patch-test.yaml --settings-json "$(quiet '{"pinning": {"action": "off"}}')"
  [ "$status" -eq 1 ]
}

@test "test cannot run invalid test files, and the exit code is 2" {
  test_file "  - {manifest: missing.yaml, expect: {verdict: denied}}"
  cmd test container-patch-test.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" "ERROR missing.yaml: cannot read the manifest"
  test_file "  - {manifest: a, expect: {verdct: denied}}"
  cmd test container-patch-test.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" "ERROR cases[0]: expect.verdct: unknown field"
  test_file "  - {manifest: $(pod_of nginx:1), expect: {codes: [unpined-image]}}"
  cmd test container-patch-test.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" 'unknown code `unpined-image`; did you mean `unpinned-image`?'
  printf 'settings: {exemt: []}\ncases: [{manifest: %s, expect: {verdict: denied}}]\n' "$(pod_of a:1)" > container-patch-test.yaml
  cmd test container-patch-test.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" 'exemt: unknown key'
  mkdir empty
  cmd test empty
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "no files named *container-patch-test.yaml in empty"
}

@test "test prints JUnit XML" {
  test_file "  - {name: 'a <b> & c', manifest: $(pod_of nginx:1), expect: {verdict: accepted}}"
  cmd test container-patch-test.yaml --output junit
  [ "$status" -eq 1 ]
  assert_contains "$output" 'tests="1" failures="1" errors="0"'
  assert_contains "$output" 'name="a &lt;b&gt; &amp; c"'
  assert_contains "$output" '<failure message='
}

MONTHLY='{"schedule": {"patchDays": {"cron": "0 0 * * TUE#2", "timeZone": "Europe/Berlin", "grace": "14d"}, "freezes": [{"from": "2026-12-18", "to": "2027-01-03", "reason": "year-end, really"}]}, "rollout": {"windows": [{"cron": "0 9 * * MON-THU", "timeZone": "Europe/Berlin", "for": "8h"}]}}'

@test "schedule prints at most 60 lines without --all" {
  cmd schedule --settings-json '{"schedule": {"patchDays": {"cron": "0 0 * * *", "grace": "1d"}}}' --from 2026-12-01 --months 6
  [ "$status" -eq 0 ]
  run grep -c '' <<< "$output"
  [ "$output" -eq 60 ]
  cmd schedule --settings-json '{"schedule": {"patchDays": {"cron": "0 0 * * *", "grace": "1d"}}}' --from 2026-12-01 --months 6
  assert_contains "$output" "more lines: "
  assert_contains "$output" "patch days; --all prints them"
  cmd schedule --settings-json '{"schedule": {"patchDays": {"cron": "0 0 * * *", "grace": "1d"}}}' --from 2026-12-01 --months 6 --all
  [ "${#lines[@]}" -gt 150 ]
}

@test "schedule prints a calendar with lines of at most 75 bytes" {
  "$CONTAINER_PATCH" schedule --settings-json "$MONTHLY" --from 2026-12-01 --months 1 --output ics > calendar.ics
  # Every line ends with CR LF.
  [ "$(grep -c $'\r$' calendar.ics)" -eq "$(wc -l < calendar.ics)" ]
  [ "$(tr -d '\r' < calendar.ics | LC_ALL=C awk '{ if (length($0) > max) max = length($0) } END { print max }')" -le 75 ]
  grep -q '^SUMMARY:Freeze: year-end\\, really' calendar.ics
  # The deadline of 2026-12-22 is after the freeze.
  grep -q '^DTSTART;VALUE=DATE:20270104' calendar.ics
  # A window from 09:00 to 17:00 in Berlin.
  grep -q '^UID:window-20261207T080000Z-all@' calendar.ics
  grep -q '^DTSTART:20261207T080000Z' calendar.ics
  grep -q '^DTEND:20261207T160000Z' calendar.ics
  # A second run has the same events.
  "$CONTAINER_PATCH" schedule --settings-json "$MONTHLY" --from 2026-12-01 --months 1 --output ics > again.ics
  diff <(grep -v ^DTSTAMP calendar.ics) <(grep -v ^DTSTAMP again.ics)
}

@test "schedule prints metrics that promtool accepts" {
  cmd schedule --settings-json "$MONTHLY" --from 2026-12-01 --output openmetrics
  [ "$status" -eq 0 ]
  # 2026-12-08 and 2027-01-04, midnight in Berlin.
  assert_contains "$output" 'next_patch_day_timestamp_seconds{images="*"} 1796684400'
  assert_contains "$output" 'next_deadline_timestamp_seconds{images="*"} 1799017200'
  # 2026-12-01, 09:00 and 17:00 in Berlin.
  assert_contains "$output" 'window_open{images="*"} 0'
  assert_contains "$output" 'next_window_start_timestamp_seconds{images="*"} 1796112000'
  assert_contains "$output" 'next_window_end_timestamp_seconds{images="*"} 1796140800'
  [ "${lines[-1]}" = "# EOF" ]
  command -v promtool > /dev/null || skip "promtool is required for the rest"
  promtool check metrics <<< "$output"
}

@test "schedule prints JSON with the keys of docs/commands.md" {
  cmd schedule --settings-json "$MONTHLY" --from 2026-12-01 --months 1 --output json
  [ "$status" -eq 0 ]
  [ "$(jq -c '[.from, .to, (.schedules[0].patchDays[0] | .at, .deadline, .movedBy)]' <<< "$output")" = \
    '["2026-12-01","2027-01-01","2026-12-08T00:00:00+01:00","2027-01-04T00:00:00+01:00","year-end, really"]' ]
  for key in $(jq -r '.schedules[0] | keys[], (.patchDays[0] | keys[]), (.freezes[0] | keys[]), (.windows | keys[]), (.windows.openings[0] | keys[])' <<< "$output"); do
    grep -q "\`$key\`" "$ROOT/docs/commands.md" || { echo "docs/commands.md does not have $key"; return 1; }
  done
}

@test "schedule refuses invalid settings, and the exit code is 2" {
  cmd schedule --settings-json '{"schedule": {"patchDays": {"cron": "never"}}}'
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "schedule.patchDays.cron: invalid cron expression"
}

@test "schedule says which form the first day has" {
  cmd schedule --settings-json "$MONTHLY" --from yesterday
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "invalid value 'yesterday' for '--from <DATE>': expected a day such as 2027-01-04"
}

@test "completions of each shell name the subcommands, and the shell reads them" {
  for shell in bash elvish fish powershell zsh; do
    cmd completions "$shell"
    [ "$status" -eq 0 ]
    for command in annotate check completions explain init man run schedule test validate; do
      assert_contains "$output" "$command"
    done
    [[ "$output" != *settings-of-configuration* ]]
    case "$shell" in bash | fish | zsh) if command -v "$shell" > /dev/null; then "$shell" -n <(echo "$output"); fi ;; esac
  done
  cmd completions tcsh
  [ "$status" -eq 2 ]
}

@test "the completion of bash completes subcommands, flags and values" {
  cmd completions bash
  echo "$output" > completion.bash
  # completed WORD…: prints what bash completes for the last word.
  completed() {
    bash -c 'source completion.bash
      COMP_WORDS=(container-patch "$@") COMP_CWORD=$#
      _container__patch container-patch "${COMP_WORDS[$#]}" "${COMP_WORDS[$# - 1]}"
      echo "${COMPREPLY[*]}"' bash "$@"
  }
  [ "$(completed sched)" = "schedule" ]
  [ "$(completed check --settings-j)" = "--settings-json" ]
  [ "$(completed check web.yaml --output sar)" = "sarif" ]
  [ "$(completed check --fail-on '')" = "deny warn" ]
  [ "$(completed validate --output '')" = "text json" ]
  [ "$(completed explain stale-i)" = "stale-image" ]
  [ "$(completed init pci)" = "pci-dss-4" ]
  [ "$(completed man val)" = "validate" ]
  [ "$(completed completions el)" = "elvish" ]
}

@test "man prints a page, and writes the pages of all commands" {
  cmd man validate
  [ "$status" -eq 0 ]
  assert_contains "$output" ".TH container-patch-validate 1"
  assert_contains "$output" 'container\-patch validate'
  assert_contains "$output" '.SH "EXIT STATUS"'
  assert_contains "$output" 'CONTAINER_PATCH_SETTINGS_PATH\fR'
  cmd man --dir pages
  [ "$status" -eq 0 ]
  for command in annotate check completions explain init man run schedule test validate; do
    [ -s "pages/container-patch-$command.1" ]
  done
  [ -s pages/container-patch.1 ]
  if command -v groff > /dev/null; then
    for page in pages/*.1; do
      run --separate-stderr groff -man -Tutf8 -wall "$page"
      [ "$status" -eq 0 ]
    done
  fi
  cmd man valdate
  [ "$status" -eq 2 ]
  assert_contains "$stderr" 'unknown subcommand `valdate`'
}

@test "wrong flags and errors of all commands have the exit code 2" {
  for arguments in "validate --outpt json" "explain a b" "init --force --force=1" "test" "schedule --months 0" "completions" "man --dir" \
    "run --request-path missing.json" "annotate missing.json" "check missing.yaml"; do
    # shellcheck disable=SC2086 # Words are arguments.
    cmd $arguments
    [ "$status" -eq 2 ]
  done
}
