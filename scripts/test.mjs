// npm test: all that the project promises, in the order of what fails fastest. Installs what is missing, a browser too.

import { spawnSync } from "node:child_process";
import { ensureBuild, ensureDependencies, run } from "./prepare.mjs";

ensureDependencies();
const { ensureTestChromium } = await import("./chromium.mjs");
await ensureTestChromium();

/** @type {[string, () => void][]} */
const stages = [
  ["format", () => run("npx", ["oxfmt", "--check"])],
  ["lint", () => run("npx", ["oxlint", "--deny-warnings"])],
  ["types", () => run("npx", ["tsc", "--build"])],
  ["unit", () => run("npx", ["vitest", "run", "--project", "node"])],
  ["gpu", () => run("npx", ["vitest", "run", "--project", "gpu"])],
  ["build", ensureBuild],
  ["cluster", testCluster],
  ["e2e", () => run("npx", ["playwright", "test"])],
];

/** The package for Ray, where there is a Python that has it. */
function testCluster() {
  const python = process.env["LAYERPRESS_PYTHON"] ?? "python3";
  const found = spawnSync(python, ["-c", "import ray, pytest"], { stdio: "ignore" });
  if (found.status === 0) run(python, ["-m", "pytest", "-q", "cluster"]);
  else
    console.log(
      `cluster/tests are skipped: ${python} has no ray and pytest. LAYERPRESS_PYTHON names a Python that has both.`,
    );
}

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
