#!/usr/bin/env bats
# The HTML page of `container-patch report` in a headless Chromium. `make e2e-browser` runs these tests.

load ../helpers
load ../../hack/registry.bash
load browser.bash

setup_file() {
  mkdir "$BATS_FILE_TMPDIR/registry"
  start_registry "$BATS_FILE_TMPDIR/registry"
  export REGISTRY REGISTRY_PID PAGES="$BATS_FILE_TMPDIR/pages"
  mkdir "$PAGES"
  cp "$BATS_TEST_DIRNAME/driver.html" "$PAGES"
  local entry name day
  for entry in web=2026-07-20 cart=2026-09-05 api=2026-10-01 shop=2026-10-20 mail=2026-11-15 jobs=2026-11-16; do
    name="${entry%=*}" day="${entry#*=}"
    push_image "shop/$name" 1.0 "${day}T08:00:00Z" > "$BATS_FILE_TMPDIR/digest"
    printf -- '---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s, namespace: shop}\nspec: {template: {spec: {containers: [{name: app, image: "%s"}]}}}\n' \
      "$name" "$REGISTRY/shop/$name:1.0"
  done > "$PAGES/shop.yaml"
  # A name that would run a script, and an image without a build date.
  printf -- '---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: "<img src=x onerror=alert(1)>", namespace: shop}\nspec: {template: {spec: {containers: [{name: "</td><script>alert(1)</script>", image: "%s/shop/none:1"}]}}}\n' \
    "$REGISTRY" >> "$PAGES/shop.yaml"
  printf '%s\n' 'evaluateAt: 2026-11-20T12:00:00Z' \
    'schedule:' '  patchDays: {cron: "0 0 * * TUE#2", timeZone: Europe/Berlin, grace: 14d}' \
    '  freezes: [{from: 2026-12-18, to: 2027-01-03, reason: year-end change freeze}]' > "$PAGES/settings.yaml"
  "$CONTAINER_PATCH" report "$PAGES/shop.yaml" --settings-path "$PAGES/settings.yaml" --insecure-registry "$REGISTRY" \
    --output html > "$PAGES/report.html" 2> "$BATS_FILE_TMPDIR/stderr" || true
  drive "$PAGES/driver.html"
}

teardown_file() { stop_registry; }

@test "the page opens with the images by deadline" {
  [ "$(result .title)" = '"Images of the manifests"' ]
  [ "$(result .loaded.sorted)" = '["Deadline ascending"]' ]
  [ "$(result .loaded.deadlines)" = '["2026-08-25","2026-09-22","2026-10-26","2026-11-24","2027-01-04after freeze","2027-01-04after freeze",""]' ]
  [ "$(result .circles)" = 6 ]
  assert_contains "$(result .cards)" '"7 images","3 past the deadline","1 due within 14 days"'
}

@test "a click on a header sorts the table, and another one reverses it" {
  [ "$(result .byImage.sorted)" = '["Image ascending"]' ]
  [ "$(result '.byImage.images == (.byImage.images | sort)')" = true ]
  [ "$(result '.byImage.images != .loaded.images')" = true ]
  [ "$(result .byDays.sorted)" = '["Days left ascending"]' ]
  # Days are compared as numbers, and images without a deadline stay at the end.
  [ "$(result '[.byDays.days[:-1][] | tonumber] | . == sort')" = true ]
  [ "$(result .byDaysDescending.sorted)" = '["Days left descending"]' ]
  [ "$(result '[.byDaysDescending.days[:-1][] | tonumber] | . == (sort | reverse)')" = true ]
  [ "$(result '[.byDays.days[-1], .byDaysDescending.days[-1]]')" = '["",""]' ]
}

@test "the page loads nothing, and nothing in it violates its content policy" {
  assert_contains "$(result .policy)" "default-src 'none'"
  [ "$(result .requests)" = '[]' ]
  # The style applies although the policy allows it by its hash only.
  [ "$(result .font)" = '"600"' ]
  assert_quiet
}

@test "the page is readable without JavaScript" {
  # Its policy then allows no script at all.
  sed "s/script-src 'sha256-[^']*'/script-src 'none'/" "$PAGES/report.html" > "$PAGES/no-script.html"
  browser --dump-dom "file://$PAGES/no-script.html" > "$BATS_TEST_TMPDIR/dom.html"
  [ "$(grep -c '<tr><td' "$BATS_TEST_TMPDIR/dom.html")" -eq 7 ]
  [ "$(grep -c '<button' "$BATS_TEST_TMPDIR/dom.html")" -eq 0 ]
}

@test "screenshots are written for a look at the design" {
  local shots="${SCREENSHOTS:-$BATS_TEST_TMPDIR}"
  mkdir -p "$shots"
  browser --window-size=1400,1300 --screenshot="$shots/report.png" "file://$PAGES/report.html"
  browser --window-size=1400,1300 --force-dark-mode --blink-settings=preferredColorScheme=0 --screenshot="$shots/report-dark.png" "file://$PAGES/report.html"
  browser --window-size=500,2200 --screenshot="$shots/report-narrow.png" "file://$PAGES/report.html"
  browser --no-pdf-header-footer --print-to-pdf="$shots/report.pdf" "file://$PAGES/report.html"
  for file in report.png report-dark.png report-narrow.png report.pdf; do
    [ "$(stat -c %s "$shots/$file")" -gt 20000 ]
  done
}
