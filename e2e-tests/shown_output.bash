# Compares the output of a command with the output that a page of the docs shows. To be loaded by a suite that has a function `normalised`,
# which replaces what differs between two runs on standard input. In shown output, `…` stands for any text, and lines may be left out.

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
