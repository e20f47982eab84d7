// Finds a Chromium for tests and for the command line, and installs one where there is none.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

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

/**
 * Like findChromium, but installs a browser if there is none: Playwright's, else the distribution's package.
 * @returns {Promise<string>}
 */
export async function ensureChromium() {
  const found = await findChromium();
  if (found) return found;
  console.log("No Chromium found; installing one …");
  const sudo = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
  const attempts = [
    ["npx", "playwright", "install", "--with-deps", "chromium"],
    [...sudo, "sh", "-c", "apt-get update -qq && apt-get install -y -qq chromium"],
  ];
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
