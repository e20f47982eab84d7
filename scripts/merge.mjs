// npm run merge: parts of a model into one folder. Needs no browser; installs packages if they are missing.

import { ensureDependencies, readTypeScript } from "./prepare.mjs";

ensureDependencies();
await readTypeScript();
const { mergeFromCommandLine } = await import("./cli/merge.ts");
process.exitCode = await mergeFromCommandLine(process.argv.slice(2));
