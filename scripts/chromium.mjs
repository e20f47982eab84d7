// Finds a Chromium for tests and for the command line, and installs one where there is none.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";

const NAMES = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "microsoft-edge"];

/** @param {string} name */
function onPath(name) {
  const found = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" });
  return found.status === 0 ? found.stdout.trim() : null;
}

/**
 * The executable to drive: LAYERPRESS_CHROMIUM, else Playwright's own, else one of the system's.
 * @returns {Promise<string | null>}
 */
export async function findChromium() {
  const chosen = process.env["LAYERPRESS_CHROMIUM"];
  if (chosen) return chosen;
  const { chromium } = await import("playwright");
  const own = chromium.executablePath();
  if (own && existsSync(own)) return own;
  return NAMES.map(onPath).find((path) => path !== null) ?? null;
}

/** Chromium without windows, in which a page takes two fifths less of the processor: the distribution's, and Playwright's names of it. */
const SHELL_NAME = "chromium-headless-shell";
/** Longer than this it is not waited for: tests run without it too. */
const SHELL_INSTALL_MS = 90_000;
const PLAYWRIGHT_SHELL = /^(chrome-headless-shell|headless_shell)(\.exe)?$/;

/**
 * The shell that Playwright installs with its own Chromium, if it is there.
 * @param {string} own that Chromium: chromium-REVISION/PLATFORM/NAME
 */
function shellBeside(own) {
  const folder = dirname(dirname(own));
  const shell = join(dirname(folder), basename(folder).replace("chromium-", "chromium_headless_shell-"));
  if (!existsSync(shell)) return null;
  const found = readdirSync(shell, { recursive: true, withFileTypes: true });
  const entry = found.find((each) => each.isFile() && PLAYWRIGHT_SHELL.test(each.name));
  return entry ? join(entry.parentPath, entry.name) : null;
}

/**
 * The executable that tests drive: LAYERPRESS_CHROMIUM, else Chromium without windows, else what `findChromium` finds.
 * @returns {Promise<string | null>}
 */
export async function findTestChromium() {
  return process.env["LAYERPRESS_CHROMIUM"] ?? (await findShell()) ?? (await findChromium());
}

async function findShell() {
  const { chromium } = await import("playwright");
  return shellBeside(chromium.executablePath()) ?? onPath(SHELL_NAME);
}

/** Like ensureChromium, and adds a Chromium without windows where the distribution has one: tests are slower without. */
export async function ensureTestChromium() {
  await ensureChromium();
  if (process.env["LAYERPRESS_CHROMIUM"] || (await findShell())) return;
  console.log(`Installing ${SHELL_NAME}, in which tests take less time …`);
  const [command = "", ...rest] = installing(SHELL_NAME);
  try {
    execFileSync(command, rest, { stdio: "inherit", timeout: SHELL_INSTALL_MS });
  } catch {
    console.log("It could not be installed: tests run in the Chromium that is there.");
  }
}

/**
 * The command that installs a package of the distribution.
 * @param {string} name
 */
function installing(name) {
  const sudo = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
  return [...sudo, "sh", "-c", `apt-get update -qq && apt-get install -y -qq ${name}`];
}

/**
 * Like findChromium, but installs a browser if there is none: Playwright's, else the distribution's package.
 * @returns {Promise<string>}
 */
export async function ensureChromium() {
  const found = await findChromium();
  if (found) return found;
  console.log("No Chromium found; installing one …");
  const attempts = [["npx", "playwright", "install", "--with-deps", "chromium"], installing("chromium")];
  for (const [command = "", ...rest] of attempts) {
    try {
      execFileSync(command, rest, { stdio: "inherit", timeout: 600_000 });
    } catch (error) {
      console.log(`${command} did not do it (${error instanceof Error ? error.message : String(error)}).`);
    }
    const installed = await findChromium();
    if (installed) return installed;
  }
  throw new Error(
    "No Chromium could be installed. Install one by hand and set LAYERPRESS_CHROMIUM to its path.",
  );
}

/**
 * What makes SwiftShader compile kernels in a fraction of the time: workgroup memory is zeroed by a loop. Zeroed by its
 * declaration, as where there is a GPU, each element becomes a store of its own, and a kernel takes a second.
 */
export const SOFTWARE_GPU_FLAG =
  "--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension";

/**
 * Flags that give headless Chromium a WebGPU adapter: the GPU if there is one, else SwiftShader.
 * @param {{ software?: boolean }} [options]
 */
export function chromiumFlags({ software = false } = {}) {
  const extra = process.env["LAYERPRESS_CHROMIUM_FLAGS"];
  return [
    "--enable-unsafe-webgpu",
    "--enable-features=Vulkan",
    "--ignore-gpu-blocklist",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    ...(software ? ["--use-webgpu-adapter=swiftshader", SOFTWARE_GPU_FLAG] : []),
    // Chromium's own sandbox does not start for root, which is what containers run as.
    ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
    ...(extra ? extra.split(" ") : []),
  ];
}
