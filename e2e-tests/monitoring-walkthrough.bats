#!/usr/bin/env bats
# The section "See an alert fire" of docs/monitoring.md works as it is written: its commands run in one shell, in a folder with the files
# that they name, and print what is shown there. In the shown output, `…` stands for any text. Only the ports are others.

load helpers

# free_port: prints a TCP port that is free on loopback.
free_port() {
  local port
  while port=$((20000 + RANDOM % 20000)); (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do :; done
  echo "$port"
}

# section: prints the console blocks of the section. A line with `$ ` is a command; in a block without such a line, every line is one.
section() { sed -n '/^## See an alert fire$/,/^## Where/p' "$ROOT/docs/monitoring.md" | sed -n '/^```console$/,/^```$/p'; }

@test "a newcomer sees an alert fire for a stale image, and one for a workload that restarts after its patch" {
  local program web pages desk="$BATS_TEST_TMPDIR/desk" line pattern
  for program in prometheus promtool python3; do
    command -v "$program" > /dev/null || { echo "$program is missing: run \`hack/setup test\`"; return 1; }
  done
  mkdir -p "$desk" "$BATS_TEST_TMPDIR/bin"
  cp -r "$ROOT/examples" "$ROOT/monitoring" "$desk/"
  printf '#!/bin/sh\nexec "%s" "$@"\n' "$(realpath "$CONTAINER_PATCH")" > "$BATS_TEST_TMPDIR/bin/container-patch"
  chmod +x "$BATS_TEST_TMPDIR/bin/container-patch"
  web="$(free_port)"
  pages="$(free_port)"
  sed -i "s/9110/$pages/" "$desk/monitoring/trial/prometheus.yml"
  section | awk '
    /^```console$/ { count = 0; has_prompt = 0; next }
    /^```$/ { for (i = 1; i <= count; i++) if (!has_prompt || sub(/^\$ /, "", lines[i])) print lines[i]; next }
    { lines[++count] = $0; if (/^\$ /) has_prompt = 1 }' | sed "s/9109/$web/g; s/9110/$pages/g" > "$BATS_TEST_TMPDIR/commands"
  section | awk '
    /^```console$/ { has_prompt = 0; next }
    /^\$ / { has_prompt = 1; next }
    /^```$/ { next }
    has_prompt' > "$BATS_TEST_TMPDIR/expected"
  [ "$(wc -l < "$BATS_TEST_TMPDIR/expected")" -eq 3 ]

  cd "$desk"
  # With `-m`, the programs in the background are jobs, as in a shell of a person. They end with the shell.
  PATH="$BATS_TEST_TMPDIR/bin:$PATH" run timeout 150 bash -m -c '
    trap "kill \$(jobs -p) 2> /dev/null; cat trial/*.log 2> /dev/null | tail -20" EXIT
    source ../commands 3>&-' 3>&-
  echo "status: $status"
  echo "output: $output"
  [ "$status" -eq 0 ]
  [ ! -e trial ]
  while read -r line; do
    # A regular expression of the line.
    pattern="$(sed 's/[][\\.*^$(){}?+|]/\\&/g; s/…/.*/g' <<< "$line")"
    grep -qxE "$pattern" <<< "$output" || { echo "expected to find: $line"; return 1; }
  done < "$BATS_TEST_TMPDIR/expected"
}
