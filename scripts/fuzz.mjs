// npm run fuzz: inputs that strangers could make, for every parser. The harness is bundled first, so that it runs as fast as
// the page does.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { ensureDependencies } from "./prepare.mjs";

ensureDependencies();
const { build } = await import("vite");
const outDir = join(import.meta.dirname, "../node_modules/.cache/fuzz");
await build({
  root: join(import.meta.dirname, ".."),
  configFile: false,
  logLevel: "warn",
  publicDir: false,
  build: { ssr: "src/testing/fuzz/main.ts", outDir, emptyOutDir: true, target: "node20", minify: false },
});
const { status } = spawnSync(process.execPath, [join(outDir, "main.js"), ...process.argv.slice(2)], {
  stdio: "inherit",
});
process.exitCode = status ?? 1;
