// Many small models, each under the real conductor in Node with rounding computed plainly: config.json, names and bytes as the
// command writes them for schemes that round symmetrically to nearest, without a browser. What `npm run check:types` opens.
//
// Reads lines of {"source", "out", "recipes": {NAME: YAML}}; writes each result into OUT/NAME and a line about it.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { createInterface } from "node:readline";
import type { JobOptions } from "../../api/job-options.ts";
import type { SourceReference } from "../../api/source-api.ts";
import { summarizeAdapter } from "../../gpu/gpu.ts";
import { compress } from "../../pipeline/compress.ts";
import { modelSource, openModel } from "../../pipeline/inspect/open-model.ts";
import type { RemoteSource } from "../../pipeline/inspect/remote-source.ts";
import { createJobControl } from "../../pipeline/job/job-control.ts";
import { startProgress } from "../../pipeline/job/progress.ts";
import { planRun } from "../../pipeline/planning/plan-run.ts";
import { planTime } from "../../pipeline/planning/plan-time.ts";
import { createSource } from "../../source/create-source.ts";
import { provideBrowserGlobals } from "../stand-ins/browser-globals.ts";
import { memoryChunkStore } from "../stand-ins/memory-chunk-store.ts";
import { createMemoryDisk } from "../stand-ins/memory-disk.ts";
import { ROUNDING_RULES } from "../stand-ins/rounding-rules.ts";
import { createStubGpu } from "../stand-ins/stub-gpu.ts";

interface Asked {
  readonly source: string;
  readonly out: string;
  readonly recipes: Readonly<Record<string, string>>;
}

/** Opens a folder, runs one recipe over it, and writes the result. @throws what the page would refuse it with */
async function compressFolder(folder: string, yaml: string, out: string) {
  const disk = createMemoryDisk();
  const gpu = createStubGpu(ROUNDING_RULES);
  const storage = { getDirectory: async () => await Promise.resolve(disk.root()) };
  const requestAdapter = async () => await Promise.resolve(gpu.adapter());
  Object.defineProperty(globalThis, "navigator", {
    configurable: true,
    value: { gpu: { requestAdapter }, storage },
  });
  const remote = createSource({
    base: "http://localhost/",
    store: memoryChunkStore(),
  }) as unknown as RemoteSource;
  const reference: SourceReference = { kind: "files", files: filesOf(folder) };
  const model = await openModel(remote, reference, null);
  const source = modelSource(remote, model);
  const options: JobOptions = {
    recipe: { kind: "yaml", text: yaml },
    calibration: null,
    gpuBudgetBytes: 256 * 1024 ** 2,
    keepSource: false,
  };
  const adapter = summarizeAdapter(gpu.adapter());
  const { lead: plan } = await planRun(model, options, { source, adapter, sets: new Map() });
  const flops = { flopsPerSecond: 1e9, measured: false };
  const time = planTime(plan, { downloadBytes: 0, network: { bytesPerSecond: 0 }, gpu: flops });
  const totals = { time, steps: plan.steps.length, bytes: plan.sourceBytes, budgetBytes: 0 };
  const control = createJobControl();
  const progress = startProgress(
    totals,
    control,
    async () => await source.progress(),
    () => undefined,
  );
  try {
    const [result] = await compress({ model, options, plan, source, control, progress, time });
    write(disk.files(), out);
    return { quantized: plan.quantizedModules, notes: result?.notes, serverNotes: plan.serverNotes };
  } finally {
    progress.stop();
  }
}

function filesOf(folder: string) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  return paths.map((whole) => {
    const path = relative(folder, whole);
    const file = new File([readFileSync(join(folder, path))], path, { lastModified: 0 });
    return { path: `model/${path}`, file };
  });
}

function write(files: ReadonlyMap<string, Uint8Array>, out: string): void {
  for (const [path, bytes] of files) {
    const [, name] = path.split("/output/");
    if (name === undefined) continue;
    mkdirSync(dirname(join(out, name)), { recursive: true });
    writeFileSync(join(out, name), bytes);
  }
}

function tell(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

provideBrowserGlobals();
for await (const line of createInterface({ input: process.stdin })) {
  const { source, out, recipes } = JSON.parse(line) as Asked;
  for (const [name, yaml] of Object.entries(recipes)) {
    const to = join(out, name);
    try {
      tell({ out: to, ...(await compressFolder(source, yaml, to)) });
    } catch (error) {
      const { name: kind, message } = error instanceof Error ? error : new Error(String(error));
      tell({ out: to, refused: `${kind}: ${message}` });
    }
  }
}
