// npm run release: the page as a folder for any static host, and for a static Space of the Hub.

import { ensureBuild, ensureDependencies } from "./prepare.mjs";

ensureDependencies();
ensureBuild();
const { ensureChromium } = await import("./chromium.mjs");
await ensureChromium();
const { register } = await import("tsx/esm/api");
register();
const { releaseFromCommandLine } = await import("./cli/release.ts");
process.exitCode = await releaseFromCommandLine(process.argv.slice(2));
