// A whole job under the real conductor in Node: a model of the fixtures, a disk in memory, a stub of a GPU.

import { readdirSync, readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { ResultSummary } from "../api/compressor-api.ts";
import type { JobOptions, MethodControls, RecipeControls } from "../api/job-options.ts";
import { invariant } from "../errors.ts";
import { compress } from "../pipeline/compress.ts";
import { modelSource, openModel } from "../pipeline/inspect/open-model.ts";
import { rotateModel } from "../pipeline/inspect/rotate-model.ts";
import type { RemoteSource } from "../pipeline/inspect/remote-source.ts";
import type { Job } from "../pipeline/job/job.ts";
import { createJobControl, type JobControl } from "../pipeline/job/job-control.ts";
import { startProgress } from "../pipeline/job/progress.ts";
import type { CompressionPlan } from "../pipeline/planning/compression-plan.ts";
import { readRecipe } from "../pipeline/planning/plan-job.ts";
import { planRun, type RunPlan } from "../pipeline/planning/plan-run.ts";
import type { MeasuredSchemes } from "../pipeline/planning/plan-survey.ts";
import { planTime } from "../pipeline/planning/plan-time.ts";
import { withTrials } from "../pipeline/planning/plan-trials.ts";
import { surveySchemes } from "../pipeline/survey-schemes.ts";
import { snapshotPace } from "../pipeline/sequential/states/snapshot-clock.ts";
import { createSource } from "../source/create-source.ts";
import { LOADER_LIMITS, type LoaderLimits } from "../source/chunks/loader-limits.ts";
import type { SourceReference } from "../api/source-api.ts";
import { summarizeAdapter } from "../gpu/gpu.ts";
import { createMemoryDisk, type MemoryDisk } from "./memory-disk.ts";
import { memoryChunkStore } from "./memory-chunk-store.ts";
import { createMemoryIndexedDb, MEMORY_KEY_RANGE, type MemoryIndexedDb } from "./memory-indexed-db.ts";
import { memoryFetch } from "./memory-server.ts";
import { ROUNDING_RULES } from "./rounding-rules.ts";
import { provideBrowserGlobals } from "./browser-globals.ts";
import { createStubGpu, type StubGpu } from "./stub-gpu.ts";
import { CALIBRATION_OPTIONS } from "./calibration-options.ts";

const MIB = 1024 ** 2;
const BASE = "http://localhost/";
const FIXTURES = "e2e/fixtures/architectures";
/** Tokens of the samples: two sequences of one batch. */
const IDS = JSON.stringify([
  Array.from({ length: 24 }, (_, at) => at + 1),
  Array.from({ length: 24 }, (_, at) => 50 - at),
]);

/** Small, so that a model of the fixtures has some ten of them, and stored at once. */
const LIMITS: LoaderLimits = {
  ...LOADER_LIMITS,
  chunkBytes: 20 * 1024,
  requests: 1,
  hotBytes: 40 * 1024,
  unwrittenBytes: 20 * 1024,
  delayMs: 0,
  readerMs: 0,
};

/** A machine with a disk, a database and a GPU, all new. */
export interface Machine {
  readonly disk: MemoryDisk;
  /** Where a model that is downloaded is kept. */
  readonly database: MemoryIndexedDb;
  readonly gpu: StubGpu;
  /** Runs the job, or goes on with it. */
  run(control?: JobControl): Promise<ResultSummary>;
  /** Measures the schemes of all results instead. */
  survey(): Promise<MeasuredSchemes>;
  /** Digest of each file of the result by path; what tells of times is left out. */
  output(): Map<string, string>;
  /** The files of the result by path. */
  files(): Map<string, Uint8Array<ArrayBuffer>>;
  /** Restarts it, with room on the disk: what was written is there. */
  recover(): void;
}

export interface PlannedJob {
  readonly plan: CompressionPlan;
  readonly results: RunPlan["results"];
  /** A new machine, which `navigator` stands for from then on; on a disk that another one had, or an empty one. */
  machine(disk?: MemoryDisk): Machine;
}

/** A recipe in a few words. */
export interface AskedRecipe {
  readonly scheme: string;
  readonly groupSize?: number;
  readonly method: MethodControls;
}

interface JobChanges extends Pick<JobOptions, "part" | "states" | "share">, Pick<RecipeControls, "rewriter"> {
  readonly propagateError?: boolean;
  readonly groupSize?: number;
  /** Modules that are left alone; default lm_head. */
  readonly ignore?: readonly string[];
  /** More recipes of the same run, and the one whose error later layers see. */
  readonly beside?: readonly AskedRecipe[];
  readonly along?: AskedRecipe;
  readonly gpuBudgetBytes?: number;
  readonly hostBudgetBytes?: number;
  /** A recipe in YAML instead of the scheme and the method. */
  readonly yaml?: string;
  /** The model is downloaded, not dropped: `fetch` and `indexedDB` are in memory from then on. */
  readonly downloaded?: boolean;
  /** Waited for with each array that a layer's bytes come in. */
  readonly onTaken?: (bytes: Uint8Array) => Promise<void>;
}

type Opening = Pick<Job, "model" | "options" | "plan"> &
  Pick<RunPlan, "results"> & { readonly open: () => Promise<RemoteSource> };

/** Opens a fixture and plans a job. */
export async function planFixture(
  name: string,
  scheme: string,
  method: MethodControls,
  { downloaded = false, onTaken, ...changes }: JobChanges = {},
): Promise<PlannedJob> {
  provideBrowserGlobals();
  // Layers of some milliseconds are worth a snapshot or not by chance, and tests count operations.
  snapshotPace.bytesPerSecond = Infinity;
  const dropped = createSource({ base: BASE, store: memoryChunkStore() }) as unknown as RemoteSource;
  if (downloaded) provideDatabase(createMemoryIndexedDb());
  const remote = downloaded ? servedSource(name) : dropped;
  const reference: SourceReference = downloaded
    ? { kind: "address", address: `${BASE}${name}/` }
    : { kind: "files", files: filesOf(name) };
  const options = optionsOf({ scheme, method }, changes);
  const model = rotateModel(await openModel(remote, reference, null), readRecipe(options.recipe).rotation);
  const open = async () => {
    if (!downloaded) return toldOfTaken(modelSource(remote, model), onTaken);
    const source = servedSource(name);
    await source.open(reference, null);
    return modelSource(source, model);
  };
  const adapter = summarizeAdapter(createStubGpu({}).adapter());
  const { lead: plan, results } = await planRun(model, options, {
    source: remote,
    adapter,
    sets: new Map(),
  });
  const machine = (disk = createMemoryDisk()) => createMachine({ model, options, open, plan, results }, disk);
  return { plan, results, machine };
}

function toldOfTaken(source: Job["source"], onTaken: JobChanges["onTaken"]): Job["source"] {
  if (!onTaken) return source;
  return {
    ...source,
    async take(range) {
      const bytes = await source.take(range);
      await onTaken(bytes);
      return bytes;
    },
  };
}

/** A source of its own, as each visit of the page has, on the database of now. */
function servedSource(name: string): RemoteSource {
  const folder = join(FIXTURES, name);
  const files = pathsOf(name).map(
    (path) => [path, new Uint8Array(readFileSync(join(folder, path)))] as const,
  );
  globalThis.fetch = memoryFetch(`${BASE}${name}/`, new Map(files));
  return createSource({ base: BASE, limits: LIMITS }) as unknown as RemoteSource;
}

function provideDatabase({ factory }: MemoryIndexedDb): void {
  Object.assign(globalThis, { indexedDB: factory, IDBKeyRange: MEMORY_KEY_RANGE });
}

function createMachine({ open, results, ...job }: Opening, disk: MemoryDisk): Machine {
  const database = createMemoryIndexedDb();
  const gpu = createStubGpu(ROUNDING_RULES);
  Object.defineProperty(globalThis, "navigator", {
    configurable: true,
    value: {
      gpu: { requestAdapter: async () => await Promise.resolve(gpu.adapter()) },
      storage: { getDirectory: async () => await Promise.resolve(disk.root()) },
    },
  });
  // Of several results each has the folder of its job.
  const below = results.length > 1 ? "/jobs/" : "/output/";
  const files = () => {
    const written = [...disk.files()].filter(([path]) => path.includes("/output/"));
    return new Map(written.map(([path, bytes]) => [path.slice(path.indexOf(below) + below.length), bytes]));
  };
  return {
    disk,
    database,
    gpu,
    recover() {
      disk.recover();
      database.recover();
    },
    async run(control = createJobControl()) {
      provideDatabase(database);
      const [first] = await runJob({ ...job, source: await open(), control }, results, compress);
      invariant(first, "a job has a result");
      return first;
    },
    async survey() {
      provideDatabase(database);
      const control = createJobControl();
      const { lead } = withTrials({ lead: job.plan, results, notes: [] });
      return await runJob({ ...job, plan: lead, source: await open(), control }, results, surveySchemes);
    },
    files,
    output() {
      const told = [...files()].filter(([name]) => !name.endsWith("quantization-report.json"));
      return new Map(told.map(([name, bytes]) => [name, createHash("sha256").update(bytes).digest("hex")]));
    },
  };
}

async function runJob<Made>(
  job: Omit<Job, "progress" | "time">,
  results: RunPlan["results"],
  work: (job: Job, jobs: readonly Job[]) => Promise<Made>,
): Promise<Made> {
  const { plan, options, source } = job;
  const gpu = { flopsPerSecond: 1e9, measured: false };
  const time = planTime(plan, { downloadBytes: 0, network: { bytesPerSecond: 0 }, gpu });
  const { gpuBudgetBytes: budgetBytes } = options;
  const totals = { time, steps: plan.steps.length, bytes: plan.sourceBytes, budgetBytes };
  const read = async () => await source.progress();
  const progress = startProgress(totals, read, () => undefined);
  try {
    const whole = { ...job, progress, time };
    return await work(
      whole,
      results.map((result) => ({ ...whole, ...result })),
    );
  } finally {
    progress.stop();
  }
}

function pathsOf(name: string): string[] {
  return readdirSync(join(FIXTURES, name)).filter((path) => !path.startsWith("reference"));
}

function filesOf(name: string) {
  const folder = join(FIXTURES, name);
  return pathsOf(name).map((path) => {
    const file = new File([readFileSync(join(folder, path))], path, { lastModified: 0 });
    return { path: `${name}/${path}`, file };
  });
}

function optionsOf(
  first: AskedRecipe,
  {
    propagateError = true,
    rewriter,
    groupSize,
    ignore,
    beside = [],
    along,
    yaml,
    gpuBudgetBytes = 64 * MIB,
    ...part
  }: Omit<JobChanges, "downloaded" | "onTaken">,
): JobOptions {
  const calibrates = [first, ...beside].some((each) => each.method.name === "GPTQModifier");
  return {
    recipe:
      yaml === undefined
        ? controlsOf({ ...first, ...(groupSize && { groupSize }) }, rewriter, ignore)
        : { kind: "yaml", text: yaml },
    ...(beside.length > 0 && { beside: beside.map((other) => controlsOf(other)) }),
    ...(along && { along: controlsOf(along) }),
    calibration:
      calibrates || rewriter || yaml !== undefined
        ? { ...CALIBRATION, propagate_error: propagateError }
        : null,
    gpuBudgetBytes,
    keepSource: false,
    ...part,
  };
}

function controlsOf(
  { scheme, method, groupSize }: AskedRecipe,
  rewriter?: RecipeControls["rewriter"],
  ignore: readonly string[] = ["lm_head"],
): RecipeControls {
  return {
    kind: "controls",
    scheme,
    group_size: groupSize ?? null,
    ignore,
    method,
    ...(rewriter ? { rewriter } : {}),
    observer: "memoryless_minmax",
  };
}

const CALIBRATION: NonNullable<JobOptions["calibration"]> = {
  ...CALIBRATION_OPTIONS,
  source: { kind: "file", file: new File([IDS], "ids.json"), column: null },
  max_seq_length: 24,
  forward_products: "F32",
};
