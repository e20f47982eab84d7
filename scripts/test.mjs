// npm test: all that the project promises, in the order of what fails fastest. Installs what is missing, a browser too.

import { ensureBuild, ensureDependencies, run } from "./prepare.mjs";

ensureDependencies();
const { ensureChromium } = await import("./chromium.mjs");
await ensureChromium();

/** @type {[string, () => void][]} */
const stages = [
  ["format", () => run("npx", ["oxfmt", "--check"])],
  ["lint", () => run("npx", ["oxlint", "--deny-warnings"])],
  ["types", () => run("npx", ["tsc", "--build"])],
  ["unit", () => run("npx", ["vitest", "run", "--project", "node"])],
  ["gpu", () => run("npx", ["vitest", "run", "--project", "gpu"])],
  ["build", ensureBuild],
  ["e2e", () => run("npx", ["playwright", "test"])],
];

for (const [name, stage] of stages) {
  const started = performance.now();
  console.log(`\n== ${name}`);
  try {
    stage();
  } catch {
    console.error(`\n${name} failed.`);
    process.exit(1);
  }
  console.log(`== ${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
}
