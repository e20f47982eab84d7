// npm run evaluate: how much a quantized model lost, from the command line. Installs and builds what is missing first.

import { ensureBuild, ensureDependencies } from "./prepare.mjs";

ensureDependencies();
ensureBuild();
const { ensureChromium } = await import("./chromium.mjs");
await ensureChromium();
const { register } = await import("tsx/esm/api");
register();
const { evaluateFromCommandLine } = await import("./cli/evaluate.ts");
process.exitCode = await evaluateFromCommandLine(process.argv.slice(2));
