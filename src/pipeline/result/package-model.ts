// Finished shards to a model folder: index, config.json, tokenizer and other small files, recipe, model card.

import { kvCacheScheme, quantizesNothing } from "../../formats/recipe.ts";
import { writeOutputFile } from "../../offload/output-store.ts";
import { modelCard } from "../../package/model-card.ts";
import { quantizationConfig, resultConfig } from "../../package/quantization-config.ts";
import {
  lossTotals,
  quantizationReport,
  type ReportedCalibration,
} from "../../package/quantization-report.ts";
import { isCarried, leftOutNote, MAX_SMALL_FILE_BYTES } from "../../package/small-files.ts";
import type { MappingReport } from "../../quantize/rewriter.ts";
import type { OutputFile, ResultSummary } from "../../api/compressor-api.ts";
import type { GpuFigures, Job } from "../job/job.ts";

/** What is known of a job that has run. */
interface JobFacts {
  readonly figures: GpuFigures;
  /** What its forward products ran on; null if it calibrated nothing. */
  readonly forwardProducts: string | null;
  readonly mappings: readonly MappingReport[];
}

/** Writes the folder's small files beside its shards and sums up the job. */
export async function packageModel(
  job: Job,
  output: FileSystemDirectoryHandle,
  facts: JobFacts,
): Promise<ResultSummary> {
  const { figures } = facts;
  const { plan, model, source } = job;
  const written: OutputFile[] = plan.output.shards.map(({ path, fileBytes }) => ({ path, bytes: fileBytes }));
  const put = async (path: string, content: string | Uint8Array<ArrayBuffer>) => {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await writeOutputFile(output, path, bytes);
    written.push({ path, bytes: bytes.byteLength });
  };
  if (plan.output.shards.length > 1) await put("model.safetensors.index.json", indexJson(job));
  const kv_cache_scheme = kvCacheScheme(plan.recipe);
  const quantization = quantizationConfig({ groups: plan.groups, kv_cache_scheme, ignored: plan.ignored });
  const isPlain = quantizesNothing(plan.recipe);
  await put("config.json", resultConfig(model.config.text, isPlain ? null : quantization));
  for (const { path, bytes } of model.source.files) {
    if (isCarried(path, bytes)) await put(path, await source.readFile(path, MAX_SMALL_FILE_BYTES));
  }
  await put("recipe.yaml", plan.recipeYaml);
  await put("quantization-report.json", report(job, facts));
  // The report's length changes with the digits of its times; the card of a resumed job must not.
  const weightBytes = plan.output.shards.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
  const resultBytes = written.reduce((sum, { bytes }) => sum + bytes, 0);
  await put("README.md", card(job, facts, weightBytes));
  return {
    jobId: plan.jobId,
    name: resultName(job),
    files: written.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
    sourceBytes: model.summary.weightBytes,
    resultBytes,
    dequantized: isPlain,
    bitsPerWeight: plan.bitsPerWeight,
    peakGpuBytes: figures.peakGpuBytes,
    worstSubmitMs: figures.longestSubmits[0]?.milliseconds ?? 0,
    longestSubmits: figures.longestSubmits,
    gpuBusySeconds: figures.busySeconds,
    seconds: job.progress.seconds(),
    recipeYaml: plan.recipeYaml,
    modules: job.progress.reports,
    notes: [
      ...plan.serverNotes.map(({ sentence }) => sentence),
      leftOutNote(model.source.files),
      ...(plan.calibration?.set.notes ?? []),
    ].filter((note) => note !== null),
  };
}

function report(job: Job, facts: JobFacts): string {
  const { figures } = facts;
  const { plan, model, options, progress } = job;
  const { label, repository, revision } = model.source;
  return quantizationReport({
    source: { label, repository, revision },
    schemes: plan.schemes,
    recipeYaml: plan.recipeYaml,
    sourceBytes: model.summary.weightBytes,
    bitsPerWeight: plan.bitsPerWeight,
    quantizedModules: plan.quantizedModules,
    ignored: plan.ignored,
    serverNotes: plan.serverNotes,
    calibration: reportedCalibration(job, facts),
    mappings: facts.mappings,
    modules: progress.reports,
    peakGpuBytes: figures.peakGpuBytes,
    gpuBudgetBytes: options.gpuBudgetBytes,
    longestSubmits: figures.longestSubmits,
    gpuBusySeconds: figures.busySeconds,
    seconds: progress.seconds(),
  });
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

function indexJson(job: Job): string {
  const { shards, totalBytes, totalParameters } = job.plan.output;
  const places = shards.flatMap((shard) => shard.entries.map(({ name }) => [name, shard.path] as const));
  const index = {
    metadata: { total_parameters: totalParameters, total_size: totalBytes },
    weight_map: Object.fromEntries(places.toSorted(([a], [b]) => (a < b ? -1 : 1))),
  };
  return `${JSON.stringify(index, null, 2)}\n`;
}

function resultName(job: Job): string {
  return `${job.model.source.name}-${job.plan.schemes.join("-")}`;
}

function card(job: Job, ran: JobFacts, weightBytes: number): string {
  const { plan, model, progress } = job;
  const facts = {
    name: resultName(job),
    sourceName: model.source.name,
    repository: model.source.repository,
    revision: model.source.revision,
    schemes: plan.schemes,
    recipeYaml: plan.recipeYaml,
    sourceBytes: model.summary.weightBytes,
    resultBytes: weightBytes,
    bitsPerWeight: plan.bitsPerWeight,
    quantizedModules: plan.quantizedModules,
    isPlain: quantizesNothing(plan.recipe),
    ignored: plan.ignored,
    calibration: reportedCalibration(job, ran),
    totals: progress.reports.length > 0 ? lossTotals(progress.reports) : null,
  };
  return modelCard(facts, model.card);
}
