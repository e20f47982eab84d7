// npm test: all that the project promises, what fails fastest first. Installs what is missing, a browser too.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { ensureDependencies } from "./prepare.mjs";

ensureDependencies();
const { ensureTestChromium } = await import("./chromium.mjs");
await ensureTestChromium();

const ROOT = join(import.meta.dirname, "..");

/**
 * @typedef {object} Stage
 * @property {string} name
 * @property {string} command
 * @property {string[]} args
 */

/** @type {(name: string, command: string, ...args: string[]) => Stage} */
const stage = (name, command, ...args) => ({ name, command: join(ROOT, "node_modules/.bin", command), args });

/** Two rows side by side, what takes seconds first: each leaves a part of the second core idle. */
const ROWS = [
  [
    stage("format", "oxfmt", "--check"),
    stage("types", "tsc", "--build"),
    stage("unit", "vitest", "run", "--project", "node"),
    stage("gpu", "vitest", "run", "--project", "gpu"),
    ...clusterStages(),
  ],
  [
    stage("lint", "oxlint", "--deny-warnings"),
    { name: "build", command: process.execPath, args: [join(ROOT, "scripts/build-once.mjs")] },
    stage("e2e", "playwright", "test"),
  ],
];

/** The package for Ray, where there is a Python that has it. */
function clusterStages() {
  const python = process.env["LAYERPRESS_PYTHON"] ?? "python3";
  const found = spawnSync(python, ["-c", "import ray, pytest"], { stdio: "ignore" });
  if (found.status === 0)
    return [{ name: "cluster", command: python, args: ["-m", "pytest", "-q", "cluster"] }];
  console.log(
    `cluster/tests are skipped: ${python} has no ray and pytest. LAYERPRESS_PYTHON names a Python that has both.`,
  );
  return [];
}

/** Stages that run, to be ended when another one fails. */
const running = new Set();

/**
 * Runs a stage to its end. What it prints is shown as it comes, or all at once after it: of two that run side by side, the
 * lines would mix.
 * @param {Stage} stage
 * @param {boolean} live
 */
async function runStage({ name, command, args }, live) {
  const started = performance.now();
  console.log(`\n== ${name}${live ? "" : " begins; what it prints follows its end"}`);
  const child = spawn(command, args, { cwd: ROOT, stdio: live ? "inherit" : ["ignore", "pipe", "pipe"] });
  running.add(child);
  /** @type {Buffer[]} */
  const printed = [];
  child.stdout?.on("data", (piece) => printed.push(piece));
  child.stderr?.on("data", (piece) => printed.push(piece));
  const [status] = await once(child, "close");
  running.delete(child);
  if (!live) process.stdout.write(Buffer.concat([Buffer.from(`\n== ${name}\n`), ...printed]));
  if (status !== 0) throw new Error(name);
  console.log(`== ${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

/**
 * @param {readonly Stage[]} stages
 * @param {boolean} live
 */
async function runRow(stages, live) {
  for (const each of stages) await runStage(each, live);
}

try {
  await Promise.all(ROWS.map(async (row, index) => await runRow(row, index === 0)));
} catch (error) {
  for (const child of running) child.kill("SIGINT");
  await Promise.all([...running].map(async (child) => await once(child, "close")));
  console.error(`\n${error instanceof Error ? error.message : String(error)} failed.`);
  process.exit(1);
}
