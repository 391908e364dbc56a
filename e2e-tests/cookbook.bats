#!/usr/bin/env bats
# The recipes in examples/cookbook/ give the verdicts that they state, and the pages in docs/cookbook/ show them as they are.
#
# A new recipe is a folder with settings.yaml, container-patch-test.yaml, session.yaml and manifests, a page of the same name, and a link in
# docs/cookbook/README.md. Above an answer in session.yaml, a comment `# NAME.json` says that the answer is this file of the folder.

load helpers

RECIPES="$ROOT/examples/cookbook"
PAGES="$ROOT/docs/cookbook"

setup() { cd "$ROOT" || return; }

# pages: prints the path of the page of each recipe.
pages() { find "$PAGES" -name '*.md' ! -name README.md | sort; }

# recipe PAGE: prints the folder of the recipe of a page.
recipe() { echo "$RECIPES/$(basename "$1" .md)"; }

# expected FILE: prints the expectations of a test file, one in a line: TIME MANIFEST NAME NAMESPACE VERDICT CODE…. NAME and NAMESPACE are
# `-` if an expectation is for all objects.
expected() {
  awk '
    function field(text, key,  rest) {
      if (!match(text, "[{ ]" key ": *")) return "-"
      rest = substr(text, RSTART + RLENGTH)
      sub(/[,}].*/, "", rest)
      return rest
    }
    function expectation(text,  codes) {
      if (match(text, /codes: \[[^]]*\]/)) { codes = substr(text, RSTART + 8, RLENGTH - 9); gsub(/, */, " ", codes) }
      print time, manifest, field(text, "name"), field(text, "namespace"), field(text, "verdict"), codes
    }
    /^at: / { default_time = $2 }
    /^  - name: / { time = default_time }
    /^    manifest: / { manifest = $2; name = "-" }
    /^    at: / { time = $2 }
    /^    expect: \{/ || /^      - \{/ { pending[++count] = $0; of[count] = manifest; when[count] = time }
    END { for (i = 1; i <= count; i++) { manifest = of[i]; time = when[i]; expectation(pending[i]) } }' "$1"
}

# shown PAGE: prints the cells of the table of verdicts of a page, one in a line: TIME MANIFEST NAMESPACE NAME VERDICT CODE….
shown() {
  awk -F ' *[|] *' '
    /^\| workload \|/ { for (i = 4; i < NF; i++) time[i] = $i; inside = 1; next }
    inside && /^\| ---/ { next }
    inside && /^\|/ {
      split($2, words, "`"); split(words[2], object, "/")
      manifest = words[4] == "" ? "workloads.yaml" : words[4]
      for (i = 4; i < NF; i++) {
        if ($i == "") continue
        cell = $i; gsub(/\]\([^)]*\)/, "", cell); gsub(/[][`:,]/, "", cell)
        print time[i] "|" manifest "|" object[1] "|" object[2] "|" cell
      }
      next
    }
    { inside = 0 }' "$1"
}

# messages FOLDER: prints every message of the policy in the tests of a recipe, by tests that expect another verdict.
messages() {
  local copy
  copy="$(mktemp -d "$BATS_TEST_TMPDIR/recipe.XXXXXX")"
  cp "$1"/* "$copy/"
  sed -i 's/verdict: [a-z]*/verdict: skipped/' "$copy/container-patch-test.yaml"
  "$CONTAINER_PATCH" test "$copy" | sed -n 's/^          \(.*\[[a-z-]*\]\)$/\1/p'
}

# quotes PAGE: prints each quoted message of a page in one line.
quotes() {
  awk '/^> / { text = text (text == "" ? "" : " ") substr($0, 3); next } text != "" { print text; text = "" } END { if (text != "") print text }' "$1"
}

# contains_quote TEXT QUOTE: whether a line of TEXT is the quote, in which `…` stands for any text.
contains_quote() {
  awk -v quote="$2" '
    BEGIN { many = split(quote, pieces, "…") }
    {
      rest = $0; found = 1
      for (i = 1; i <= many && found; i++) { at = index(rest, pieces[i]); found = i == 1 ? at == 1 : at > 0; rest = substr(rest, at + length(pieces[i])) }
      if (found && rest == "") { any = 1; exit }
    }
    END { exit !any }' <<< "$1"
}

@test "every recipe gives the verdicts that it states" {
  run --separate-stderr "$CONTAINER_PATCH" test examples/cookbook
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "${lines[-1]}" == *" as expected, 0 different" ]]
  [ "$(grep -c '/container-patch-test.yaml: ' <<< "$output")" -eq "$(find "$RECIPES" -mindepth 1 -maxdepth 1 -type d | wc -l)" ]
}

@test "every recipe has a page, every page has a recipe, and the overview links to every page" {
  [ "$(pages | wc -l)" -ge 17 ]
  diff <(pages | xargs -n 1 basename -s .md) <(find "$RECIPES" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort)
  diff <(pages | xargs -n 1 basename) <(sed -n '1,/^## Use a recipe/p' "$PAGES/README.md" | grep -oE '\(([a-z-]+\.md)\)' | tr -d '()' | sort)
}

@test "every page shows the settings of its recipe" {
  local page
  while read -r page; do
    diff "$(recipe "$page")/settings.yaml" <(awk '/^```yaml$/ { inside = 1; next } inside && /^```$/ { exit } inside' "$page")
    grep -qF "(../../examples/cookbook/$(basename "$page" .md)/settings.yaml)" "$page"
  done < <(pages)
}

@test "the settings of every recipe are valid without warnings, and name their schema" {
  local settings
  for settings in "$RECIPES"/*/settings.yaml; do
    run "$CONTAINER_PATCH" validate --settings-path "$settings"
    [ "$output" = "$settings: valid" ]
    [[ "$(head -n 1 "$settings")" == "# yaml-language-server: "*"/docs/settings.schema.json" ]]
    [[ "$(sed -n 2p "$settings")" == "# "* ]]
  done
}

@test "the table of every page has the verdicts of the tests" {
  local page time manifest namespace name cell rows
  while read -r page; do
    rows=0
    while IFS='|' read -r time manifest namespace name cell; do
      rows=$((rows + 1))
      echo "$page: $time $manifest $namespace/$name: $cell"
      expected "$(recipe "$page")/container-patch-test.yaml" | sed -E 's/^([0-9-]+)T([0-9:]{5}):00Z/\1_\2/; s/ *$//' |
        grep -qxE "${time/ /_} $manifest ($name|-) ($namespace|-) $cell"
    done < <(shown "$page")
    [ "$rows" -ge 1 ]
  done < <(pages)
}

@test "the messages on every page are those of the policy" {
  local page quote all count=0
  while read -r page; do
    all="$(messages "$(recipe "$page")")"
    while read -r quote; do
      count=$((count + 1))
      contains_quote "$all" "$quote" || { printf '%s: no test gives this message: %s\nThe messages:\n%s\n' "$page" "$quote" "$all"; return 1; }
    done < <(quotes "$page")
  done < <(pages)
  [ "$count" -ge 20 ]
}

@test "the recorded answer about a report is the report in the folder" {
  local session report payload count=0
  for session in "$RECIPES"/*/session.yaml; do
    while read -r report; do
      count=$((count + 1))
      payload="$(awk -v report="# $report" '$0 == report { inside = 1 } inside && /^    payload: / { sub(/^    payload: ./, ""); sub(/.$/, ""); print; exit }' "$session")"
      diff <(jq -S . "${session%/*}/$report") <(jq -S . <<< "${payload//"''"/"'"}")
    done < <(sed -n 's/^# \([a-z]*\.json\)$/\1/p' "$session")
  done
  [ "$count" -ge 6 ]
}

@test "annotated.yaml is what annotate writes, and the images of the Grype recipe have its annotations" {
  local report
  diff "$RECIPES/trivy/annotated.yaml" <("$CONTAINER_PATCH" annotate "$RECIPES/trivy/scan.json" "$RECIPES/trivy/web.yaml" 2> /dev/null)
  diff "$RECIPES/clair/annotated.yaml" \
    <("$CONTAINER_PATCH" annotate --timestamp 2026-11-19T08:00:00Z "$RECIPES/clair/scan.json" "$RECIPES/clair/web.yaml" 2> /dev/null)
  for report in scan clean; do
    "$CONTAINER_PATCH" annotate "$RECIPES/grype/$report.json" 2> /dev/null | cut -d= -f2- |
      jq -R '.' | grep -qF -f - "$RECIPES/grype/session.yaml"
  done
}

@test "break-glass admits a member of the group who gives a reason, and no other request" {
  local folder="$RECIPES/break-glass" request
  for request in oncall developer no-reason; do
    policy_run --request-path "$folder/$request.json" --settings-path "$folder/settings.yaml" \
      --replay-host-capabilities-interactions "$folder/session.yaml"
    [ "$status" -eq 0 ]
    [ "$(response .allowed)" = "$([ "$request" = oncall ] && echo true || echo false)" ]
    assert_contains "$(message)$(warnings)" "[break-glass]"
    assert_contains "$(message)$(warnings)" "[stale-image]"
  done
}

@test "a fix is admitted outside of the windows" {
  local folder="$RECIPES/rollout-windows"
  sed '$a evaluateAt: 2026-11-20T20:00:00Z' "$folder/settings.yaml" > "$BATS_TEST_TMPDIR/settings.yaml"
  policy_run --request-path "$folder/fix.json" --settings-path "$BATS_TEST_TMPDIR/settings.yaml" --allow-context-aware \
    --replay-host-capabilities-interactions "$folder/fix-session.yaml"
  [ "$status" -eq 0 ]
  assert_warned evaluate-at-set outside-window not-soaked
  # The same image without the stale predecessor is not a fix.
  jq '.operation = "CREATE" | del(.oldObject)' "$folder/fix.json" > "$BATS_TEST_TMPDIR/create.json"
  policy_run --request-path "$BATS_TEST_TMPDIR/create.json" --settings-path "$BATS_TEST_TMPDIR/settings.yaml" --allow-context-aware \
    --replay-host-capabilities-interactions "$folder/fix-session.yaml"
  [ "$(response .allowed)" = false ]
}
