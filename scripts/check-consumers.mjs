// npm run check:consumers: opens results where people open them. Installs and builds what is missing first.

import { ensureBuild, ensureDependencies } from "./prepare.mjs";

ensureDependencies();
ensureBuild();
const { ensureChromium } = await import("./chromium.mjs");
await ensureChromium();
const { register } = await import("tsx/esm/api");
register();
const { checkConsumers } = await import("./consumers/check-consumers.ts");
process.exitCode = await checkConsumers(process.argv.slice(2));
