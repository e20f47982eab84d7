// A machine in Node on which the real conductor runs: a disk and a database in memory, and a stub of a GPU.

import { createHash } from "node:crypto";
import type { ResultSummary } from "../../api/compressor-api.ts";
import { invariant } from "../../errors.ts";
import { compress } from "../../pipeline/compress.ts";
import type { RemoteSource } from "../../pipeline/inspect/remote-source.ts";
import type { Job } from "../../pipeline/job/job.ts";
import { createJobControl, type JobControl } from "../../pipeline/job/job-control.ts";
import { startProgress, type Told } from "../../pipeline/job/progress.ts";
import type { RunPlan } from "../../pipeline/planning/plan-run.ts";
import type { MeasuredSchemes } from "../../pipeline/planning/plan-survey.ts";
import { planTime } from "../../pipeline/planning/plan-time.ts";
import { withTrials } from "../../pipeline/planning/plan-trials.ts";
import { surveySchemes } from "../../pipeline/survey-schemes.ts";
import type { MemoryDisk } from "../stand-ins/memory-disk.ts";
import {
  createMemoryIndexedDb,
  MEMORY_KEY_RANGE,
  type MemoryIndexedDb,
} from "../stand-ins/memory-indexed-db.ts";
import { ROUNDING_RULES } from "../stand-ins/rounding-rules.ts";
import { createStubGpu, type StubGpu } from "../stand-ins/stub-gpu.ts";

/** A machine with a disk, a database and a GPU, all new. */
export interface Machine {
  readonly disk: MemoryDisk;
  /** Where a model that is downloaded is kept. */
  readonly database: MemoryIndexedDb;
  readonly gpu: StubGpu;
  /** What jobs told of themselves, in order. */
  readonly told: readonly Partial<Told>[];
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

type Opening = Pick<Job, "model" | "options" | "plan"> &
  Pick<RunPlan, "results"> & { readonly open: () => Promise<RemoteSource> };

/** Makes `indexedDB` stand for a database. */
export function provideDatabase({ factory }: MemoryIndexedDb): void {
  Object.assign(globalThis, { indexedDB: factory, IDBKeyRange: MEMORY_KEY_RANGE });
}

/** Makes `navigator` stand for a new machine on a disk. */
export function createMachine({ open, results, ...job }: Opening, disk: MemoryDisk): Machine {
  const database = createMemoryIndexedDb();
  const gpu = createStubGpu(ROUNDING_RULES);
  const told: Partial<Told>[] = [];
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
    told,
    recover() {
      disk.recover();
      database.recover();
    },
    async run(control = createJobControl()) {
      provideDatabase(database);
      const [first] = await runJob({ ...job, source: await open(), control }, results, compress, told);
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
      const lasting = [...files()].filter(([name]) => !name.endsWith("quantization-report.json"));
      return new Map(
        lasting.map(([name, bytes]) => [name, createHash("sha256").update(bytes).digest("hex")]),
      );
    },
  };
}

async function runJob<Made>(
  job: Omit<Job, "progress" | "time">,
  results: RunPlan["results"],
  work: (job: Job, jobs: readonly Job[]) => Promise<Made>,
  told: Partial<Told>[] = [],
): Promise<Made> {
  const { plan, options, source, control } = job;
  const gpu = { flopsPerSecond: 1e9, measured: false };
  const time = planTime(plan, { downloadBytes: 0, network: { bytesPerSecond: 0 }, gpu });
  const { gpuBudgetBytes: budgetBytes } = options;
  const totals = { time, steps: plan.steps.length, bytes: plan.sourceBytes, budgetBytes };
  const read = async () => await source.progress();
  const progress = startProgress(totals, control, read, () => undefined);
  try {
    const tell = (change: Partial<Told>) => {
      told.push(change);
      progress.tell(change);
    };
    const whole = { ...job, progress: { ...progress, tell }, time };
    return await work(
      whole,
      results.map((result) => ({ ...whole, ...result })),
    );
  } finally {
    progress.stop();
  }
}
