// naga is what Firefox reads WGSL with. What it takes here, and translates for Vulkan, Metal and Direct3D, Firefox takes.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "vite";
import { UsageError } from "../cli/arguments/argument-readers.ts";
import { parseOptions } from "../cli/arguments/parse-words.ts";
import { endInWords } from "../cli/end-in-words.ts";
import { endedBy } from "../../src/ended-by.ts";

const USAGE = `npm run check:wgsl

Gives every kernel's WGSL, joined as pipelines get it, to naga. naga is LAYERPRESS_NAGA, or the system's. Exits with 1 if naga
refuses a kernel, or is not found.`;
/** `unpack2x16float` wants it, and every adapter of Firefox has it. */
const CAPABILITIES = "shader_float16_in_float32";
const TRANSLATIONS = ["spv", "metal", "hlsl"];
/** Kernels that a browser is only given where it offers what they enable. */
const OF_CHROMIUM = /^enable chromium_/m;

interface Joined {
  readonly name: string;
  readonly code: readonly string[];
}

/** Runs `npm run check:wgsl`; resolves to the exit status. */
export async function checkWgsl(args: readonly string[]): Promise<number> {
  return await endInWords(USAGE, async () => {
    const values = parseOptions(args, { help: { type: "boolean", default: false } });
    if (!values.help) return (await nagaTakesAll()) ? 0 : 1;
    console.log(USAGE);
    return 0;
  });
}

/** Prints which kernels naga refuses, or that there is no naga. */
export async function nagaTakesAll(): Promise<boolean> {
  const naga = findNaga();
  if (naga !== null) return await takesAll(naga);
  console.log(
    "No naga was found, so no WGSL was checked. Install it (cargo install naga-cli), or set LAYERPRESS_NAGA to its path.",
  );
  return false;
}

/** The executable: LAYERPRESS_NAGA, else the system's; null if there is none. */
function findNaga(): string | null {
  const chosen = process.env["LAYERPRESS_NAGA"];
  if (chosen) return chosen;
  const { status, stdout } = spawnSync("sh", ["-c", "command -v naga"], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : null;
}

async function takesAll(naga: string): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), "layerpress-naga-"));
  try {
    const kernels = await loadKernels();
    const [own, others] = [kernels.filter(isForAll), kernels.filter((each) => !isForAll(each))];
    const refused = own.filter((each) => !takes(naga, each, folder));
    console.log(`naga: ${own.length - refused.length} of ${own.length} kernels taken.`);
    for (const { name } of others) console.log(`  ${name} enables what Chromium alone has: not checked.`);
    return refused.length === 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function isForAll({ code }: Joined): boolean {
  return !code.some((part) => OF_CHROMIUM.test(part));
}

/** Vite knows how the modules import WGSL. */
async function loadKernels(): Promise<readonly Joined[]> {
  const server = await createServer({
    root: join(import.meta.dirname, "../.."),
    configFile: false,
    logLevel: "error",
    appType: "custom",
    server: { middlewareMode: true, hmr: false, ws: false, watch: null },
    optimizeDeps: { noDiscovery: true },
    oxc: { target: "es2022" },
  });
  const load = async () => {
    const loaded = await server.ssrLoadModule("/src/testing/test-gpu/every-kernel.ts");
    return await (loaded as { everyKernel(): Promise<readonly Joined[]> }).everyKernel();
  };
  return await endedBy(load, async () => await server.close());
}

function takes(naga: string, { name, code }: Joined, folder: string): boolean {
  const path = join(folder, "kernel.wgsl");
  writeFileSync(path, code.join("\n"));
  const out = TRANSLATIONS.map((kind) => join(folder, `kernel.${kind}`));
  const { status, stderr, error } = spawnSync(naga, ["--capabilities", CAPABILITIES, path, ...out], {
    encoding: "utf8",
  });
  if (error) throw new UsageError(`naga could not be run: ${error.message}.`);
  if (status !== 0) console.log(`  ${name} is refused:\n${stderr.trimEnd()}`);
  return status === 0;
}
