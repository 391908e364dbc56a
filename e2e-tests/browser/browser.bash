# Headless Chromium, for the tests of pages. To be sourced by bats suites.

# browser FLAG…: runs Chromium, with its log in a file. It runs as root in containers, where its sandbox does not work.
browser() {
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-background-networking \
    --disable-component-update --user-data-dir="$BATS_FILE_TMPDIR/profile" --enable-logging=stderr "$@" \
    2>> "$BATS_FILE_TMPDIR/chromium.log"
}

# drive PAGE: opens a driver in Chromium, and writes the result in it to result.json. The driver reads a page in its frame, which browsers
# forbid for files.
drive() {
  browser --disable-web-security --virtual-time-budget=5000 --dump-dom "file://$1" > "$BATS_FILE_TMPDIR/dom.html"
  sed -n 's#.*<pre id="result">\(.*\)</pre>.*#\1#p' "$BATS_FILE_TMPDIR/dom.html" \
    | sed 's/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g' > "$BATS_FILE_TMPDIR/result.json"
}

result() { jq -c "$1" "$BATS_FILE_TMPDIR/result.json"; }

# assert_quiet: asserts that no page violated its content policy, or had an error.
assert_quiet() {
  if grep -aE 'CONSOLE|Content Security Policy|Uncaught' "$BATS_FILE_TMPDIR/chromium.log"; then
    return 1
  fi
}
