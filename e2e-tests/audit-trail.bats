#!/usr/bin/env bats
# The files that docs/audit-trail.md describes: the audit policy, and the sample log.

load helpers

# resources VERB: prints the resources that the audit policy records for a verb, as group/resource.
resources() {
  awk -v verb="$1" '
    /^  - level:/ { level = $3; is_recorded = 0; next }
    /^    verbs:/ { is_recorded = (level == "Metadata" || level == "Request") && index($0, verb) > 0; next }
    /^      - group:/ { group = $3; next }
    /^        resources:/ && is_recorded { gsub(/.*\[|\].*|,/, ""); for (i = 1; i <= NF; i++) print group "/" $i }' "$ROOT/deploy/audit/policy.yaml" \
    | tr -d '"' | sort
}

# judged FILE: prints the resources that the policy in deploy/FILE.yaml judges, as group/resource.
judged() {
  awk '
    /^    - apiGroups:/ { gsub(/.*\[|\].*/, ""); group = $0; next }
    /^      resources:/ { gsub(/.*\[|\].*|,/, ""); for (i = 1; i <= NF; i++) print group "/" $i }' "$ROOT/deploy/$1.yaml" | tr -d '"' | sort
}

@test "the audit policy records every request that the policies judge" {
  [ "$(judged enforce | wc -l)" -ge 11 ]
  for verb in create update patch; do
    [ "$(resources $verb)" = "$(judged enforce)" ]
  done
  [ "$(comm -13 <(judged enforce) <(judged pin))" = "" ]
}

# At the level Metadata, a dry run with its options in the body looks like a deletion.
@test "the audit policy records when pods end, with the options of the deletion, and nothing else" {
  [ "$(resources delete)" = /pods ]
  [ "$(resources deletecollection)" = /pods ]
  [ "$(grep '^  - level:' "$ROOT/deploy/audit/policy.yaml" | tr -d '\n')" = "  - level: Metadata  - level: Request  - level: None" ]
  [ "$(tail -n 1 "$ROOT/deploy/audit/policy.yaml")" = "  - level: None" ]
}

@test "the sample log is what the policies write today" {
  command -v docker-registry > /dev/null || skip "docker-registry is not installed"
  "$ROOT/hack/sample-log" "$CONTAINER_PATCH" > "$BATS_TEST_TMPDIR/audit.log"
  diff "$ROOT/examples/recorded/audit.log" "$BATS_TEST_TMPDIR/audit.log" | cut -c1-600
  cmp "$ROOT/examples/recorded/audit.log" "$BATS_TEST_TMPDIR/audit.log"
}

@test "the page of the history has the entries, the totals and the time to patch of the JSON" {
  local log="$ROOT/examples/recorded/audit.log" page="$BATS_TEST_TMPDIR/history.html" json
  "$CONTAINER_PATCH" history "$log" --output html > "$page"
  json="$("$CONTAINER_PATCH" history "$log" --output json)"
  rows() { grep -c '<tr><td' <<< "$(sed -n "/<h2>$1</,/<\/table>/p" "$page")"; }
  [ "$(rows Entries)" -eq "$(jq '.entries | length' <<< "$json")" ]
  [ "$(rows Break-glass)" -eq "$(jq .summary.breakGlass <<< "$json")" ]
  # The last row is the total.
  [ "$(rows 'Time to patch')" -eq "$(jq '.timeToPatch.repositories | length + 1' <<< "$json")" ]
  grep -qF "<strong>$(jq .summary.requests.denied <<< "$json")</strong><span>denied</span>" "$page"
}

@test "the page of a long log has its last entries, and its totals count all" {
  local page="$BATS_TEST_TMPDIR/history.html"
  # Events with other IDs, since copies of an event count once.
  for number in $(seq 100); do sed "s/\"auditID\":\"/&$number-/" "$ROOT/examples/recorded/audit.log"; done > "$BATS_TEST_TMPDIR/long.log"
  "$CONTAINER_PATCH" history "$BATS_TEST_TMPDIR/long.log" --output html > "$page"
  grep -qF '<strong>2500</strong><span>admitted</span>' "$page"
  grep -qF '1800 earlier entries are left out.' "$page"
  [ "$(stat -c %s "$page")" -lt 4000000 ]
}
