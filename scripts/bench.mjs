// npm run bench: measures this machine with the built page, or compares two results. Installs and builds what is missing
// first.

import { ensureBuild, ensureDependencies, readTypeScript } from "./prepare.mjs";

ensureDependencies();
await readTypeScript();
const { benchFromCommandLine } = await import("./cli/bench.ts");
process.exitCode = await benchFromCommandLine(process.argv.slice(2), async () => {
  ensureBuild();
  const { ensureChromium } = await import("./chromium.mjs");
  await ensureChromium();
});
