// What every command needs on a fresh clone: installed packages, and a build that is newer than its sources. Plain
// JavaScript without dependencies, because it runs before anything is installed.

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { doOnce } from "./preparing-lock.mjs";

// Every command begins with this file, and so is noted down what has started it.
export { FIRST_PARENTS, npmParents } from "./npm-parents.mjs";

const root = join(import.meta.dirname, "..");
/** Not where installing deletes. */
const LOCK = join(root, ".preparing");

/** @param {string} path */
function modified(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

/**
 * @param {string} path
 * @returns {number}
 */
function newestIn(path) {
  if (!existsSync(path)) return 0;
  if (!statSync(path).isDirectory()) return modified(path);
  return Math.max(0, ...readdirSync(path).map((name) => newestIn(join(path, name))));
}

/**
 * @param {string} command
 * @param {string[]} args
 */
export function run(command, args) {
  execFileSync(command, args, { cwd: root, stdio: "inherit" });
}

/** Installs what package-lock.json says, unless that was done. */
export function ensureDependencies() {
  const isDone = () =>
    modified(join(root, "node_modules/.package-lock.json")) >= modified(join(root, "package-lock.json"));
  doOnce(LOCK, isDone, () => {
    console.log("Installing packages …");
    run("npm", ["ci", "--no-audit", "--no-fund"]);
  });
}

/** What commands need that drive the page: packages, a build, a browser, and Node reading TypeScript. */
export async function prepareToDrive() {
  ensureDependencies();
  ensureBuild();
  const { ensureChromium } = await import("./chromium.mjs");
  await ensureChromium();
  await readTypeScript();
}

/** Has Node import TypeScript from now on. */
export async function readTypeScript() {
  const { register } = await import("tsx/esm/api");
  register();
}

/** Builds dist/ unless it is newer than every source. */
export function ensureBuild() {
  const sources = [
    "src",
    "workers",
    "bench",
    "public",
    "index.html",
    "vite.config.ts",
    "scripts/fill-service-worker.ts",
    "package-lock.json",
  ];
  const isDone = () =>
    modified(join(root, "dist/index.html")) >=
    Math.max(...sources.map((source) => newestIn(join(root, source))));
  doOnce(LOCK, isDone, () => {
    console.log("Building the page …");
    run("npx", ["vite", "build", "--logLevel", "warn"]);
  });
}
