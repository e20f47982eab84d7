// npm run chaos: jobs of the command line under kills, full disks and bad servers. Installs and builds what is missing first.

import { ensureBuild, ensureDependencies } from "./prepare.mjs";

ensureDependencies();
ensureBuild();
const { ensureChromium } = await import("./chromium.mjs");
await ensureChromium();
const { register } = await import("tsx/esm/api");
register();
const { chaosFromCommandLine } = await import("./chaos/chaos.ts");
process.exitCode = await chaosFromCommandLine(process.argv.slice(2));
