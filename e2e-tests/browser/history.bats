#!/usr/bin/env bats
# The HTML page of `container-patch history` in a headless Chromium, and the pictures of the documentation. `make e2e-browser` runs these tests.

load ../helpers
load browser.bash

setup_file() {
  export PAGES="$BATS_FILE_TMPDIR/pages"
  mkdir "$PAGES"
  cp "$BATS_TEST_DIRNAME/history-driver.html" "$PAGES"
  # A user and an object whose names would run a script.
  jq -c 'if .user.username == "joe" then .user.username = "joe<script>alert(1)</script>" | .objectRef.name = "</td><img src=x onerror=alert(1)>" else . end' \
    "$ROOT/examples/recorded/audit.log" > "$BATS_FILE_TMPDIR/audit.log"
  "$CONTAINER_PATCH" history "$BATS_FILE_TMPDIR/audit.log" --output html > "$PAGES/history.html"
  drive "$PAGES/history-driver.html"
}

@test "the page opens with the newest entries, the totals and the time to patch" {
  [ "$(result .title)" = '"History of images"' ]
  [ "$(result '.times | length')" = 38 ]
  [ "$(result '.times == (.times | sort | reverse)')" = true ]
  assert_contains "$(result .cards)" '"25 admitted","9 admitted with warnings","3 denied","1 rejected by something else","1 break-glass"'
  # The slowest patch has the whole width.
  [ "$(result '.bars[0]')" = '"400.0"' ]
  [ "$(result '.bars | length')" = 4 ]
  [ "$(result .breakGlass)" = '"INC-4711 payments are down"' ]
}

@test "the entries can be sorted and filtered" {
  [ "$(result '[.ages[] | select(. != "") | rtrimstr(" d") | tonumber] | . == sort')" = true ]
  [ "$(result '.denied.outcomes')" = '["denied","denied"]' ]
  [ "$(result '.denied.count')" = '"2 of 38"' ]
  [ "$(result '[(.nothing.outcomes | length), (.all.outcomes | length), .all.count]')" = '[0,38,""]' ]
}

@test "the page loads nothing, and nothing in it violates its content policy" {
  assert_contains "$(result .policy)" "default-src 'none'"
  [ "$(result .requests)" = '[]' ]
  # The style applies although the policy allows it by its hash only.
  [ "$(result .font)" = '"600"' ]
  [ "$(result '.fill != "rgb(0, 0, 0)"')" = true ]
  assert_quiet
}

@test "screenshots are written for a look at the design" {
  local shots="${SCREENSHOTS:-$BATS_TEST_TMPDIR}"
  mkdir -p "$shots"
  browser --window-size=1400,1600 --screenshot="$shots/history.png" "file://$PAGES/history.html"
  browser --window-size=1400,1600 --force-dark-mode --blink-settings=preferredColorScheme=0 --screenshot="$shots/history-dark.png" "file://$PAGES/history.html"
  browser --window-size=1000,1600 --screenshot="$shots/history-laptop.png" "file://$PAGES/history.html"
  browser --window-size=500,2600 --screenshot="$shots/history-narrow.png" "file://$PAGES/history.html"
  browser --no-pdf-header-footer --print-to-pdf="$shots/history.pdf" "file://$PAGES/history.html"
  for file in history.png history-dark.png history-laptop.png history-narrow.png history.pdf; do
    [ "$(stat -c %s "$shots/$file")" -gt 20000 ]
  done
}

# size FILE: prints the width and the height of a PNG.
size() { od --address-radix=n --skip-bytes=16 --read-bytes=8 --format=u1 "$1" | awk '{ print $1 * 16777216 + $2 * 65536 + $3 * 256 + $4, $5 * 16777216 + $6 * 65536 + $7 * 256 + $8 }'; }

@test "the pictures of the documentation can be made again, and are small" {
  local picture
  "$ROOT/hack/pictures" "$CONTAINER_PATCH" "$BATS_TEST_TMPDIR"
  for picture in "$BATS_TEST_TMPDIR"/*.png; do
    [ "$(size "$picture")" = "$(size "$ROOT/docs/${picture##*/}")" ]
    [ "$(stat -c %s "$picture")" -lt 200000 ]
    [ "$(stat -c %s "$picture")" -gt 50000 ]
  done
  [ "$(size "$BATS_TEST_TMPDIR/history.png")" = "1200 1206" ]
  [ "$(stat -c %s "$ROOT/docs/history.png")" -lt 200000 ]
}
