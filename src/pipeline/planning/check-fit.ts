// The fit report: what a job takes of network, disk and GPU, against what there is, before any big byte.

import { invariant } from "../../errors.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { bitsPerWeight } from "../../plan/checkpoint/bits-per-weight.ts";
import { freeStorageBytes } from "../../offload/free-space.ts";
import type {
  CalibrationSummary,
  FitReport,
  GpuSpeed,
  PresetSize,
  ResultFit,
  Verdict,
} from "../../api/compressor-api.ts";
import { layerFileNotes } from "../calibration/memory/host-memory.ts";
import type { CalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import type { CompressionPlan } from "./compression-plan.ts";
import { outsideNotes } from "./outside-note.ts";
import type { PlannedResult, RunPlan } from "./plan-run.ts";
import { missingBytes, planTime, totalFlops, totalSeconds } from "./plan-time.ts";
import { partCosts } from "./part-costs.ts";
import type { RemoteSource } from "../inspect/remote-source.ts";
import type { JobOptions } from "../../api/job-options.ts";
import { mappingNotes } from "../calibration/layers/mapping-notes.ts";

/** Free space beyond the need below which the verdict is "tight". */
const COMFORTABLE_SPARE = 0.1;

export interface FitFacts {
  readonly model: OpenModel;
  readonly source: RemoteSource;
  readonly gpu: GpuSpeed;
  /** True if forward products can run on the GPU's matrix units. */
  readonly hasMatrixUnits: boolean;
  /** Of the model as it is: a rotation of the recipe is none of a preset's. */
  readonly presets: readonly PresetSize[];
}

/** Compares a plan with what the machine has. */
export async function checkFit(
  { model, source, gpu, hasMatrixUnits, presets }: FitFacts,
  run: RunPlan,
  options: JobOptions,
): Promise<FitReport> {
  const plan = run.lead;
  const results = run.results.map((result) => resultFit(run, result));
  const [first] = results;
  invariant(first, "a run has a result");
  const local = model.source.host === null;
  const downloadBytes = await missingBytes(model, plan, source);
  const { weightBytes } = model.summary;
  // Of a quantized source, the plan's ranges are those of its plain weights; the files hold less.
  const stored = weightBytes / model.tensors.reduce((sum, { start, end }) => sum + end - start, 0);
  const kept = options.keepSource ? plan.sourceBytes : windowBytes(plan);
  const indexedDbBytes = local ? 0 : Math.ceil(kept * stored);
  const freeBytes = await freeStorageBytes();
  const opfsBytes = results.reduce((sum, { resultBytes }) => sum + resultBytes, 0);
  const layerFileBytes = plan.calibration?.plan.layerPlace.fileBytes ?? 0;
  const needed = { indexedDbBytes, opfsBytes, layerFileBytes };
  const time = planTime(plan, { downloadBytes, network: await source.progress(), gpu });
  const { verdict, sentences } = judge(needed, freeBytes, plan, options);
  return {
    ...first,
    results,
    downloadBytes,
    ...needed,
    freeBytes,
    peakGpuBytes: plan.peakGpuBytes,
    gpuBudgetBytes: options.gpuBudgetBytes,
    presets,
    estimatedSeconds: totalSeconds(time),
    verdict,
    calibration: plan.calibration && {
      ...summarizeCalibration(plan.calibration),
      flops: totalFlops(plan),
      gpu,
    },
    sentences: [
      ...sentences,
      ...rotationCost(model),
      ...run.notes,
      ...ignoreNotes(run),
      ...(plan.calibration ? layerFileNotes(plan.calibration.plan.layerPlace) : []),
      ...(plan.calibration?.set.notes ?? []),
      ...mappingNotes(plan.calibration?.layers ?? []),
      ...outsideNotes(plan),
    ],
    partCosts: partCosts(plan, hasMatrixUnits),
  };
}

function resultFit({ lead }: RunPlan, { plan }: PlannedResult): ResultFit {
  return {
    scheme: plan.schemes.join(" + "),
    recipeYaml: plan.recipeYaml,
    resultBytes: plan.output.shards.reduce((sum, shard) => sum + shard.fileBytes, 0),
    bitsPerWeight: bitsPerWeight(plan.counted),
    quantizedModules: plan.quantizedModules,
    copiedTensors: plan.steps.reduce((sum, step) => sum + step.copy.length, 0),
    leads: plan.jobId === lead.jobId,
    serverNotes: plan.serverNotes,
    servableRecipe: plan.servableRecipe,
  };
}

/** What the results leave as it is although targets mean it, or do not although it is to be ignored, each once. */
function ignoreNotes({ results }: RunPlan): string[] {
  const notes = results.flatMap(({ plan }) => [plan.defaultsNote, plan.ignoreNote]);
  return [...new Set(notes.filter((note) => note !== null))];
}

/** What a rotation takes of the result, told with the way around it. */
function rotationCost({ rotation }: OpenModel): string[] {
  if (rotation.untiedBytes === 0) return [];
  return [
    `Rotated, the output head is a tensor of its own: ${formatBytes(rotation.untiedBytes)} of the result. A recipe without R1 keeps it tied to the embedding.`,
  ];
}

/** Chunks of finished steps are evicted: the three largest neighbouring steps lie in IndexedDB at once. */
function windowBytes(plan: CompressionPlan): number {
  const sizes = plan.steps.map(({ bytes }) => bytes);
  const windows = sizes.map((size, index) => size + (sizes[index + 1] ?? 0) + (sizes[index + 2] ?? 0));
  return Math.max(...windows);
}

function summarizeCalibration({ set, plan }: CalibrationJob): Omit<CalibrationSummary, "flops" | "gpu"> {
  return {
    samples: set.sequences.length,
    tokens: set.tokens,
    passes: 1 + Math.max(...plan.layers.map(({ passes }) => passes.length)),
    weightsResident: plan.layers.every(({ resident }) => resident),
    hiddenStates: plan.hidden.place,
    hiddenBytes: plan.hidden.streams * plan.hiddenBytes,
  };
}

function judge(
  needed: Pick<FitReport, "indexedDbBytes" | "opfsBytes" | "layerFileBytes">,
  freeBytes: number | null,
  plan: CompressionPlan,
  options: JobOptions,
): { verdict: Verdict; sentences: string[] } {
  const total = needed.indexedDbBytes + needed.opfsBytes + needed.layerFileBytes;
  const gpu = `The GPU holds at most ${formatBytes(plan.peakGpuBytes)} of its budget of ${formatBytes(options.gpuBudgetBytes)} at a time.`;
  if (freeBytes === null) {
    return {
      verdict: "tight",
      sentences: ["It could not be found out how much this browser may store.", gpu],
    };
  }
  if (total > freeBytes) {
    const advice = options.keepSource
      ? "Do not keep the source, free disk space, or delete models that this browser keeps."
      : "Free disk space, delete models that this browser keeps, or choose a smaller scheme.";
    return {
      verdict: "does-not-fit",
      sentences: [
        `This needs ${formatBytes(total)} of browser storage; ${formatBytes(freeBytes)} can be had, ${formatBytes(total - freeBytes)} too little.`,
        advice,
      ],
    };
  }
  if (total > freeBytes * (1 - COMFORTABLE_SPARE)) {
    return {
      verdict: "tight",
      sentences: [`It fits, with ${formatBytes(freeBytes - total)} of browser storage to spare.`, gpu],
    };
  }
  return { verdict: "fits", sentences: ["It fits.", gpu] };
}
