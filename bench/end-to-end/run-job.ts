// One job through the application's own workers, and its stages alone before it.

import { proxy } from "comlink";
import type { Progress, ResultSummary } from "../../src/api/compressor-api.ts";
import { openModel, type OpenModel } from "../../src/pipeline/inspect/open-model.ts";
import { planJob } from "../../src/pipeline/planning/plan-job.ts";
import { describeDecoder } from "../../src/model/describe-decoder.ts";
import { seededRandom } from "../../src/testing/random.ts";
import type { EndToEndOptions } from "../options.ts";
import type { EndToEndRow, TimelinePoint } from "../report/result.ts";
import { arithmeticFloor } from "./arithmetic-floor.ts";
import {
  forgetModel,
  gpuAlone,
  loadingAlone,
  networkAlone,
  opfsAlone,
  weightRanges,
} from "./stages-alone.ts";
import { startWorkers } from "./start-workers.ts";
import type { JobOptions } from "../../src/api/job-options.ts";

const DEFAULT_TOKENS_EACH = 2048;
/** Points of a timeline: enough to see what overlaps. */
const MAX_POINTS = 200;

/** Runs the stages, then the job; a failure becomes a row that says why. */
export async function runJob(options: EndToEndOptions): Promise<EndToEndRow> {
  const { name, address, scheme, gpuBudgetBytes } = options;
  const { samples = 0, tokensEach = DEFAULT_TOKENS_EACH, forwardProducts = "AUTO" } = options;
  const asked = { name, address, scheme, samples, tokensEach, forwardProducts, gpuBudgetBytes };
  try {
    return { ...asked, figures: await measureJob(asked), failure: null };
  } catch (error) {
    return { ...asked, figures: null, failure: error instanceof Error ? error.message : String(error) };
  }
}

async function measureJob(options: Required<EndToEndOptions>): Promise<EndToEndRow["figures"]> {
  using workers = startWorkers();
  const { source } = workers;
  const model = await openModel(source, { kind: "address", address: options.address }, null);
  await forgetModel(source, model);
  const job = jobOptions(options, model);
  const alone = await measureStages(options, job, model, source);
  await forgetModel(source, model);
  const watch = watchProgress((await source.progress()).downloadedBytes);
  const result = await startJob(workers, options.address, job, (progress) => watch.see(progress));
  await workers.compressor.deleteJob(result.jobId);
  await forgetModel(source, model);
  const { network, loading, gpu, opfs } = alone;
  return {
    sourceBytes: result.sourceBytes,
    resultBytes: result.resultBytes,
    seconds: result.seconds,
    alone,
    ratio: gpu === null ? null : (result.seconds["total"] ?? 0) / Math.max(network, loading, gpu, opfs),
    floor: gpu === null ? floorOf(model, options) : null,
    peakGpuBytes: result.peakGpuBytes,
    worstSubmitMs: result.worstSubmitMs,
    longestSubmits: result.longestSubmits,
    gpuBusySeconds: result.gpuBusySeconds,
    peakStoredBytes: watch.peakStoredBytes(),
    notes: result.notes,
    modules: result.modules.map(({ module, seconds }) => ({ module, seconds })),
    timeline: watch.timeline(),
  };
}

type Workers = ReturnType<typeof startWorkers>;

async function measureStages(
  { address, samples }: Required<EndToEndOptions>,
  job: JobOptions,
  model: OpenModel,
  source: Workers["source"],
) {
  const ranges = weightRanges(model.source.files);
  const plan = await planJob(model, job);
  const network = await networkAlone(address, ranges);
  return {
    network,
    loading: await loadingAlone(source, ranges, plan),
    gpu: samples > 0 ? null : await gpuAlone(plan, job.gpuBudgetBytes),
    opfs: await opfsAlone(plan),
  };
}

async function startJob(
  { compressor }: Workers,
  address: string,
  job: JobOptions,
  see: (progress: Progress) => void,
): Promise<ResultSummary> {
  for (const { jobId, address: stored } of await compressor.jobs()) {
    if (stored === address) await compressor.deleteJob(jobId);
  }
  await compressor.inspect({ kind: "address", address }, null);
  const [result] = await compressor.start(job, proxy(see));
  if (!result) throw new Error("The job ended without a result.");
  return result;
}

function jobOptions(
  { scheme, samples, tokensEach, forwardProducts, gpuBudgetBytes }: Required<EndToEndOptions>,
  model: OpenModel,
) {
  const calibrated = samples > 0;
  const options: JobOptions = {
    recipe: {
      kind: "controls",
      scheme,
      group_size: null,
      ignore: ["lm_head"],
      method: calibrated
        ? { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" }
        : { name: "QuantizationModifier" },
      observer: "memoryless_minmax",
    },
    calibration: calibrated
      ? {
          source: {
            kind: "file",
            file: randomTokens(samples, tokensEach, decoderOf(model).vocabSize),
            column: null,
          },
          num_calibration_samples: samples,
          max_seq_length: tokensEach,
          shuffle_calibration_samples: false,
          seed: 0,
          hidden_states_dtype: "F32",
          forward_products: forwardProducts,
          propagate_error: true,
          moe_calibrate_all_experts: true,
          moe_min_tokens_per_expert: 1,
        }
      : null,
    gpuBudgetBytes,
    keepSource: false,
  };
  return options;
}

function decoderOf({ config, tensors }: OpenModel) {
  return describeDecoder(
    config.raw,
    tensors.map(({ name }) => name),
  );
}

function floorOf(model: OpenModel, { samples, tokensEach }: Required<EndToEndOptions>) {
  return arithmeticFloor(decoderOf(model), samples, tokensEach);
}

function randomTokens(samples: number, tokensEach: number, vocabSize: number): File {
  const random = seededRandom(1);
  const ids = Array.from({ length: samples }, () =>
    Array.from({ length: tokensEach }, () => Math.floor(random() * vocabSize)),
  );
  return new File([JSON.stringify(ids)], "tokens.json");
}

/** Keeps every report until there are too many, then every second one; `before` was downloaded by the stages alone. */
function watchProgress(before: number) {
  let points: TimelinePoint[] = [];
  let keepEvery = 1;
  let seen = 0;
  let peakStoredBytes = 0;
  return {
    see({ phase, step, secondsElapsed, source, bytesDone, gpuBytes }: Progress) {
      const { storedBytes } = source;
      const downloadedBytes = source.downloadedBytes - before;
      peakStoredBytes = Math.max(peakStoredBytes, storedBytes);
      if (seen++ % keepEvery !== 0) return;
      const doneBytes = bytesDone;
      points.push({
        seconds: secondsElapsed,
        phase,
        step,
        downloadedBytes,
        storedBytes,
        doneBytes,
        gpuBytes,
      });
      if (points.length < MAX_POINTS) return;
      points = points.filter((_, index) => index % 2 === 0);
      keepEvery *= 2;
    },
    peakStoredBytes: () => peakStoredBytes,
    timeline: () => points,
  };
}
