// npm run compress: the page's job from the command line. Installs and builds what is missing first.

import { ensureBuild, ensureDependencies } from "./prepare.mjs";

ensureDependencies();
ensureBuild();
const { ensureChromium } = await import("./chromium.mjs");
await ensureChromium();
const { register } = await import("tsx/esm/api");
register();
const { compressFromCommandLine } = await import("./cli/compress.ts");
const status = await compressFromCommandLine(process.argv.slice(2));
// After a signal nothing is waited for, such as a browser that was still starting.
if (status > 128) process.exit(status);
process.exitCode = status;
