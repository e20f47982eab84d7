// Every kernel through naga, then every data-free preset in Firefox and in Chromium: the results' tensors and configuration
// have to be equal byte for byte.

import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseOptions } from "../cli/arguments/parse-words.ts";
import { endInWords } from "../cli/end-in-words.ts";
import { preview } from "vite";
import { PRESET_NAMES, PRESETS } from "../../src/formats/schemes/presets.ts";
import { isStaticActivation } from "../../src/formats/schemes/quantization-args.ts";
import { different, digests } from "../chaos/same-bytes.ts";
import { requestOf } from "../cli/page/ask-page.ts";
import { readCompressArguments } from "../cli/arguments/compress-arguments.ts";
import { openPage } from "../cli/page/open-page.ts";
import { receiveFiles, RECEIVING_PATH } from "../cli/page/receive-files.ts";
import { startModelServer } from "../model-server/model-server.ts";
import { folderModel } from "../model-server/served-model.ts";
import { nagaTakesAll } from "./check-wgsl.ts";
import { findFirefox, openFirefox } from "./open-firefox.ts";
import { endedBy } from "../../src/ended-by.ts";

const USAGE = `npm run check:firefox -- [--presets A,B] [--source FOLDER]

Checks the kernels as npm run check:wgsl does, then compresses a small model in Firefox and in Chromium with every preset that
needs no calibration, and compares the bytes. Firefox is LAYERPRESS_FIREFOX, or the system's. Exits with 1 if a byte differs, a
kernel is refused, or Firefox or naga is not found.`;
const SOURCE = "e2e/fixtures/golden/source";
/** What tells of times and addresses. */
const OWN = new Set(["README.md"]);

/** Runs a job in the page and has it send the files of the result. */
const COMPRESS = `async (text) => {
  const { request, to } = JSON.parse(text);
  try {
    const { result } = await globalThis.layerpress.compress(request);
    for (const { path } of result.files) await globalThis.layerpress.send(path, to + encodeURIComponent(path));
    return "";
  } catch (error) {
    return error.name + ": " + error.message;
  }
}`;

type Call = (functionText: string, argument: string) => Promise<string>;

/** Runs `npm run check:firefox`; resolves to the exit status. */
export async function checkFirefox(args: readonly string[]): Promise<number> {
  return await endInWords(USAGE, async () => await check(args));
}

async function check(args: readonly string[]): Promise<number> {
  const values = parseOptions(args, {
    presets: { type: "string" },
    source: { type: "string", default: SOURCE },
    help: { type: "boolean", default: false },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const taken = await nagaTakesAll();
  const executable = findFirefox();
  if (executable === null) {
    console.log("No Firefox was found. Install one, or set LAYERPRESS_FIREFOX to its path.");
    return 1;
  }
  const isDataFree = (name: keyof typeof PRESETS) =>
    !isStaticActivation(PRESETS[name].scheme.input_activations);
  const presets = values.presets?.split(",") ?? PRESET_NAMES.filter(isDataFree);
  return (await comparePresets(executable, values.source, presets)) && taken ? 0 : 1;
}

async function comparePresets(
  executable: string,
  from: string,
  presets: readonly string[],
): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), "layerpress-firefox-"));
  const models = { "golden/source": { files: await folderModel(from) } };
  const server = await startModelServer({ models });
  const source = `${server.filesUrl}/golden/source/`;
  const compare = async () => {
    await inFirefox(executable, join(folder, "firefox"), async (call) => await runAll(call, source, presets));
    await inChromium(folder, async (call) => await runAll(call, source, presets));
    return report(folder, presets);
  };
  return await endedBy(compare, server.close, () => rmSync(folder, { recursive: true, force: true }));
}

async function inFirefox(
  executable: string,
  out: string,
  work: (call: Call) => Promise<void>,
): Promise<void> {
  const page = await preview({
    root: join(import.meta.dirname, "../.."),
    logLevel: "error",
    plugins: [receiveFiles(out, new Map())],
    preview: { host: "127.0.0.1", port: 0, strictPort: true, open: false },
  });
  const run = async () => {
    await using firefox = await openFirefox(executable);
    console.log(`Firefox ${firefox.version}`);
    const { port } = page.httpServer.address() as AddressInfo;
    await firefox.goto(`http://localhost:${port}/?shown=no`);
    await work(async (...asked) => await firefox.call(...asked));
  };
  await endedBy(run, async () => await page.close());
}

async function inChromium(folder: string, work: (call: Call) => Promise<void>): Promise<void> {
  await using opened = await openPage(join(folder, "work"), join(folder, "chromium"));
  await work(
    async (functionText, argument) =>
      await opened.during(opened.page.evaluate<string>(`(${functionText})(${JSON.stringify(argument)})`)),
  );
}

async function runAll(call: Call, source: string, presets: readonly string[]): Promise<void> {
  for (const preset of presets) {
    const started = performance.now();
    const args = readCompressArguments([source, "--out", "out", "--recipe", preset]);
    if (!args || !("out" in args)) throw new Error(`${preset} is no recipe.`);
    const request = requestOf(args, null);
    const failure = await call(COMPRESS, JSON.stringify({ request, to: `${RECEIVING_PATH}${preset}%2F` }));
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(failure === "" ? `  ${preset} ${seconds} s` : `  ${preset}: ${failure}`);
  }
}

function report(folder: string, presets: readonly string[]): boolean {
  let wrong = 0;
  console.log("\n| Preset | Firefox and Chromium |\n| --- | --- |");
  for (const preset of presets) {
    const [ours, theirs] = ["firefox", "chromium"].map((name) => digests(join(folder, name, preset)));
    const found = different(ours ?? new Map(), theirs ?? new Map()).filter((name) => !OWN.has(name));
    const isEmpty = (ours?.size ?? 0) === 0;
    if (found.length > 0 || isEmpty) wrong++;
    console.log(`| ${preset} | ${isEmpty ? "no result" : found.length > 0 ? found.join(", ") : "equal"} |`);
  }
  console.log(wrong === 0 ? `\n${presets.length} presets equal.` : `\n${wrong} of ${presets.length} differ.`);
  return wrong === 0;
}
