// Finished shards to a model folder: index, config.json, tokenizer and other small files, recipe, model card.

import { statesFileName } from "../../calibrate/states-file.ts";
import { kvCacheScheme, quantizesNothing } from "../../formats/recipe/recipe.ts";
import { openOutputFile } from "../../offload/job-folder.ts";
import { writeOutputFile } from "../../offload/output-store.ts";
import { buildFacts } from "../../package/build-facts.ts";
import { describeResult } from "../../package/describe-result.ts";
import {
  PART_FILE,
  type PartDocument,
  type ResultFacts,
  writePartDocument,
} from "../../package/part-document.ts";
import { quantizationConfig, resultConfig } from "../../package/quantization-config.ts";
import type { ReportedCalibration } from "../../package/quantization-report.ts";
import { isCarried, leftOutNote, MAX_SMALL_FILE_BYTES } from "../../package/small-files.ts";
import { bitsPerWeight } from "../../plan/checkpoint/bits-per-weight.ts";
import { stepSpecs } from "../../plan/plan-output.ts";
import type { MappingReport } from "../../quantize/rewriter.ts";
import type { OutputFile, ResultSummary } from "../../api/compressor-api.ts";
import type { JobPart } from "../../api/job-options.ts";
import { lackingNote } from "../inspect/describe-model.ts";
import type { GpuFigures, Job } from "../job/job.ts";
import type { PlannedPart } from "../planning/compression-plan.ts";
import { outsideNotes } from "../planning/outside-note.ts";

const GATED =
  "The original is gated: who may have copies of it, its licence says. Read it before you publish this result, and gate the repository if it asks for that.";

/** What is known of a job that has run. */
interface JobFacts {
  readonly figures: GpuFigures;
  /** What its forward products ran on; null if it calibrated nothing. */
  readonly forwardProducts: string | null;
  readonly mappings: readonly MappingReport[];
}

/**
 * Writes the folder's small files beside its shards and sums up the job; of a part, those that join it to the others; of a
 * share that writes no result, none.
 */
export async function packageModel(
  job: Job,
  output: FileSystemDirectoryHandle,
  facts: JobFacts,
): Promise<ResultSummary> {
  const { figures } = facts;
  const { plan } = job;
  const written: OutputFile[] = plan.output.shards.map(({ path, fileBytes }) => ({ path, bytes: fileBytes }));
  const put = async (path: string, content: string | Uint8Array<ArrayBuffer>) => {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await writeOutputFile(output, path, bytes);
    written.push({ path, bytes: bytes.byteLength });
  };
  if (plan.share && plan.share.index > 0) return summary(job, figures, written);
  if (plan.part?.asked.kind === "states") written.push(...(await statesFiles(output, plan.part.asked.at)));
  else await putFiles(job, facts, put);
  return summary(job, figures, written);
}

function summary(job: Job, figures: GpuFigures, written: readonly OutputFile[]): ResultSummary {
  const { plan, model } = job;
  const resultBytes = written.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    jobId: plan.jobId,
    name: resultName(job),
    files: written.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
    sourceBytes: model.summary.weightBytes,
    resultBytes,
    dequantized: quantizesNothing(plan.recipe),
    bitsPerWeight: bitsPerWeight(plan.counted),
    peakGpuBytes: figures.peakGpuBytes,
    plannedGpuBytes: plan.peakGpuBytes,
    worstSubmitMs: figures.longestSubmits[0]?.milliseconds ?? 0,
    longestSubmits: figures.longestSubmits,
    gpuBusySeconds: figures.busySeconds,
    seconds: job.progress.seconds(),
    recipeYaml: plan.recipeYaml,
    modules: job.progress.reports,
    notes: [
      plan.defaultsNote,
      plan.ignoreNote,
      ...plan.serverNotes.map(({ sentence }) => sentence),
      lackingNote(model),
      leftOutNote(model.source.files),
      model.source.gated ? GATED : null,
      ...(plan.calibration?.set.notes ?? []),
      ...outsideNotes(plan),
    ].filter((note) => note !== null),
  };
}

/** All that lies beside the shards. */
async function putFiles(
  job: Job,
  facts: JobFacts,
  put: (path: string, content: string | Uint8Array<ArrayBuffer>) => Promise<void>,
): Promise<void> {
  const { plan, model, source } = job;
  const kv_cache_scheme = kvCacheScheme(plan.recipe);
  const quantization = quantizationConfig({ groups: plan.groups, kv_cache_scheme, ignored: plan.ignored });
  const isPlain = quantizesNothing(plan.recipe);
  await put("config.json", resultConfig(model.config.text, isPlain ? null : quantization));
  const carried = plan.part?.asked.kind === "layers" ? [] : model.source.files.filter(isSmallFile);
  for (const { path } of carried) await put(path, await source.readFile(path, MAX_SMALL_FILE_BYTES));
  const told = resultFacts(job, facts);
  if (!plan.part) {
    for (const [path, content] of describeResult(told, plan.output)) await put(path, content);
    return;
  }
  const { forwardProducts } = facts;
  await put(PART_FILE, partDocument(job, plan.part, { ...told, carried, forwardProducts }));
}

async function statesFiles(
  output: FileSystemDirectoryHandle,
  layers: readonly number[],
): Promise<OutputFile[]> {
  return await Promise.all(
    layers.map(async (layer) => {
      const path = statesFileName(layer);
      return { path, bytes: (await openOutputFile(output, path)).size };
    }),
  );
}

function isSmallFile({ path, bytes }: OutputFile): boolean {
  return isCarried(path, bytes);
}

/** What joins the part to the others. */
function partDocument(
  { plan: { steps, output }, options }: Job,
  { jobId, places, asked, ...whole }: PlannedPart,
  told: ResultFacts & Pick<PartDocument, "carried" | "forwardProducts">,
): string {
  const products = options.calibration?.forward_products ?? "AUTO";
  return writePartDocument({
    ...told,
    calibration: told.calibration && { ...told.calibration, forward_products: products },
    version: buildFacts().commit,
    job: jobId,
    part: askedPart(asked),
    layers: whole.layers,
    steps: whole.steps,
    written: steps.flatMap((step, index) =>
      step.calibrated?.passed ? [] : [{ place: places[index] ?? index, tensors: stepSpecs(step) }],
    ),
    shards: output.shards.map(({ path, fileBytes }) => ({ path, bytes: fileBytes })),
  });
}

function askedPart(asked: JobPart): PartDocument["part"] {
  if (asked.kind !== "layers") return { kind: "rest" };
  const { kind, first, last } = asked;
  return { kind, first, last };
}

/** What is told of the job's result. */
function resultFacts(job: Job, facts: JobFacts): ResultFacts {
  const { figures, mappings } = facts;
  const { plan, model, options, progress } = job;
  const { key, label, name, repository, revision } = model.source;
  return {
    source: { key, label, name, repository, revision },
    recipe: plan.recipeYaml,
    calibration: reportedCalibration(job, facts),
    result: {
      name: resultName(job),
      schemes: plan.schemes,
      sourceBytes: model.summary.weightBytes,
      bitsPerWeight: bitsPerWeight(plan.counted),
      quantizedModules: plan.quantizedModules,
      isPlain: quantizesNothing(plan.recipe),
      ignored: plan.ignored,
      serverNotes: plan.serverNotes.map(({ server, modules, sentence }) => ({ server, modules, sentence })),
      card: model.card,
    },
    measured: {
      modules: progress.reports,
      mappings,
      peakGpuBytes: figures.peakGpuBytes,
      gpuBudgetBytes: options.gpuBudgetBytes,
      longestSubmits: figures.longestSubmits,
      gpuBusySeconds: figures.busySeconds,
      seconds: progress.seconds(),
    },
  };
}

function reportedCalibration({ plan }: Job, { forwardProducts }: JobFacts): ReportedCalibration | null {
  if (!plan.calibration) return null;
  const { set, options } = plan.calibration;
  return {
    samples: set.sequences.length,
    tokens: set.tokens,
    max_seq_length: options.max_seq_length,
    shuffle_calibration_samples: options.shuffle_calibration_samples,
    seed: options.seed,
    propagate_error: options.propagate_error,
    hidden_states_dtype: options.hidden_states_dtype,
    forward_products: forwardProducts ?? options.forward_products,
    moe_calibrate_all_experts: options.moe_calibrate_all_experts,
    moe_min_tokens_per_expert: options.moe_min_tokens_per_expert,
  };
}

function resultName(job: Job): string {
  return `${job.model.source.name}-${job.plan.schemes.join("-")}`;
}
