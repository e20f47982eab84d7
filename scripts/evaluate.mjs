// npm run evaluate: how much a quantized model lost, from the command line. Installs and builds what is missing first.

import { prepareToDrive } from "./prepare.mjs";

await prepareToDrive();
const { evaluateFromCommandLine } = await import("./cli/evaluate.ts");
const status = await evaluateFromCommandLine(process.argv.slice(2));
// All is said: nothing is waited for any more, such as a browser that does not end, and is killed then.
process.stdout.write("", () => process.exit(status));
