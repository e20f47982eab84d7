// A whole job under the real conductor in Node: a model of the fixtures, a disk in memory, a stub of a GPU.

import { readdirSync, readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { ResultSummary } from "../api/compressor-api.ts";
import type { JobOptions, MethodControls, RecipeControls } from "../api/job-options.ts";
import { compress } from "../pipeline/compress.ts";
import { openModel } from "../pipeline/inspect/open-model.ts";
import type { RemoteSource } from "../pipeline/inspect/remote-source.ts";
import type { Job } from "../pipeline/job/job.ts";
import { createJobControl, type JobControl } from "../pipeline/job/job-control.ts";
import { startProgress } from "../pipeline/job/progress.ts";
import type { CompressionPlan } from "../pipeline/planning/compression-plan.ts";
import { planCompression } from "../pipeline/planning/plan-compression.ts";
import { planTime } from "../pipeline/planning/plan-time.ts";
import { createSource } from "../source/create-source.ts";
import { summarizeAdapter } from "../gpu/gpu.ts";
import { createMemoryDisk, type MemoryDisk } from "./memory-disk.ts";
import { memoryChunkStore } from "./memory-chunk-store.ts";
import { ROUNDING_RULES } from "./rounding-rules.ts";
import { provideBrowserGlobals } from "./browser-globals.ts";
import { createStubGpu, type StubGpu } from "./stub-gpu.ts";

const MIB = 1024 ** 2;
const FIXTURES = "e2e/fixtures/architectures";
/** Tokens of the samples: two sequences of one batch. */
const IDS = JSON.stringify([
  Array.from({ length: 24 }, (_, at) => at + 1),
  Array.from({ length: 24 }, (_, at) => 50 - at),
]);

/** A machine with a disk and a GPU, both new. */
export interface Machine {
  readonly disk: MemoryDisk;
  readonly gpu: StubGpu;
  /** Runs the job, or goes on with it. */
  run(control?: JobControl): Promise<ResultSummary>;
  /** Digest of each file of the result by path; what tells of times is left out. */
  output(): Map<string, string>;
  /** The files of the result by path. */
  files(): Map<string, Uint8Array<ArrayBuffer>>;
}

export interface PlannedJob {
  readonly plan: CompressionPlan;
  /** A new machine, which `navigator` stands for from then on. */
  machine(): Machine;
}

interface JobChanges extends Pick<JobOptions, "part" | "states">, Pick<RecipeControls, "rewriter"> {
  readonly propagateError?: boolean;
}

/** Opens a fixture and plans a job. */
export async function planFixture(
  name: string,
  scheme: string,
  method: MethodControls,
  { propagateError = true, rewriter, ...part }: JobChanges = {},
): Promise<PlannedJob> {
  provideBrowserGlobals();
  const source = createSource({ base: "http://localhost/", store: memoryChunkStore() });
  const remote = source as unknown as RemoteSource;
  const model = await openModel(remote, { kind: "files", files: filesOf(name) }, null);
  const { calibration, ...plain } = optionsOf(scheme, method, rewriter);
  const propagating = calibration && { ...calibration, propagate_error: propagateError };
  const options = { ...plain, calibration: propagating, ...part };
  const adapter = summarizeAdapter(createStubGpu({}).adapter());
  const plan = await planCompression(model, options, { source: remote, adapter, sets: new Map() });
  return { plan, machine: () => createMachine({ model, options, source: remote, plan }) };
}

function createMachine(job: Pick<Job, "model" | "options" | "source" | "plan">): Machine {
  const disk = createMemoryDisk();
  const gpu = createStubGpu(ROUNDING_RULES);
  Object.defineProperty(globalThis, "navigator", {
    configurable: true,
    value: {
      gpu: { requestAdapter: async () => await Promise.resolve(gpu.adapter()) },
      storage: { getDirectory: async () => await Promise.resolve(disk.root()) },
    },
  });
  const { plan, options, source } = job;
  const files = () => {
    const written = [...disk.files()].filter(([path]) => path.includes("/output/"));
    return new Map(
      written.map(([path, bytes]) => [path.slice(path.indexOf("/output/") + "/output/".length), bytes]),
    );
  };
  const time = planTime(plan, {
    downloadBytes: 0,
    network: { bytesPerSecond: 0 },
    gpu: { flopsPerSecond: 1e9, measured: false },
  });
  return {
    disk,
    gpu,
    async run(control = createJobControl()) {
      const totals = {
        time,
        steps: plan.steps.length,
        bytes: plan.sourceBytes,
        budgetBytes: options.gpuBudgetBytes,
      };
      const progress = startProgress(
        totals,
        async () => await source.progress(),
        () => undefined,
      );
      try {
        return await compress({ ...job, control, progress, time });
      } finally {
        progress.stop();
      }
    },
    files,
    output() {
      const told = [...files()].filter(([name]) => name !== "quantization-report.json");
      return new Map(told.map(([name, bytes]) => [name, createHash("sha256").update(bytes).digest("hex")]));
    },
  };
}

function filesOf(name: string) {
  const folder = join(FIXTURES, name);
  return readdirSync(folder)
    .filter((path) => !path.startsWith("reference"))
    .map((path) => {
      const file = new File([readFileSync(join(folder, path))], path, { lastModified: 0 });
      return { path: `${name}/${path}`, file };
    });
}

function optionsOf(scheme: string, method: MethodControls, rewriter: RecipeControls["rewriter"]): JobOptions {
  return {
    recipe: {
      kind: "controls",
      scheme,
      group_size: null,
      ignore: ["lm_head"],
      method,
      ...(rewriter ? { rewriter } : {}),
      observer: "memoryless_minmax",
    },
    calibration:
      method.name === "QuantizationModifier" && !rewriter
        ? null
        : {
            source: { kind: "file", file: new File([IDS], "ids.json"), column: null },
            num_calibration_samples: 2,
            max_seq_length: 24,
            shuffle_calibration_samples: false,
            seed: 0,
            hidden_states_dtype: "F32",
            forward_products: "F32",
            propagate_error: true,
            moe_calibrate_all_experts: true,
            moe_min_tokens_per_expert: 64,
          },
    gpuBudgetBytes: 64 * MIB,
    keepSource: false,
  };
}
