// npm run check:families: the table of docs/architectures.md. Installs and builds what is missing first.

import { ensureBuild, ensureDependencies } from "./prepare.mjs";

ensureDependencies();
ensureBuild();
const { ensureChromium } = await import("./chromium.mjs");
await ensureChromium();
const { register } = await import("tsx/esm/api");
register();
const { checkFamilies } = await import("./families/check-families.ts");
process.exitCode = await checkFamilies(process.argv.slice(2));
