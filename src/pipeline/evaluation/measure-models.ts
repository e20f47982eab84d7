// Perplexity of a model, and how far it is from the original, as a report.

import { UnsupportedModelError } from "../../errors.ts";
import { greatestOf } from "../../greatest-of.ts";
import { measureQuality, type Quality } from "../../evaluate/quality/measure-quality.ts";
import { mixersOf } from "../../evaluate/graph/mixers/nodes-of.ts";
import { closing, createEngine } from "../../evaluate/runtime/engine.ts";
import { omissions } from "../../evaluate/weights/weight-values.ts";
import { type Gpu, openGpu, requestAdapter, summarizeAdapter } from "../../gpu/gpu.ts";
import { layerLinears } from "../../model/layer-linears.ts";
import { checkForward, openCheck, watchSample } from "./forward/check-forward.ts";
import { measureForward } from "./forward/measure-forward.ts";
import { longestPlanned } from "./forward/plan-forward.ts";
import { bindingLimit } from "./forward/stored-weights.ts";
import { type EvaluationWindows, loadWindows } from "./load-windows.ts";
import type {
  EvaluationOptions,
  EvaluationProgress,
  ModelQuality,
  QualityReport,
} from "../../api/evaluator-api.ts";
import type { OpenStoredModel } from "./open-stored-model.ts";
import { waitLater } from "../../wait-later.ts";
import { beginReading } from "./begin-reading.ts";

interface Measurement {
  readonly model: OpenStoredModel;
  readonly original: OpenStoredModel | null;
  readonly options: EvaluationOptions;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: EvaluationProgress) => void;
}

/** What computed the figures, and what that took. */
interface Measured {
  readonly quality: Quality;
  readonly loaded: EvaluationWindows;
  readonly report: Pick<
    QualityReport,
    "forwardPass" | "check" | "provider" | "peakGpuBytes" | "leftGpuBytes" | "phases"
  >;
  readonly notes: readonly string[];
}

/** Measures a model, against an original if there is one. */
export async function measureModels(measurement: Measurement): Promise<QualityReport> {
  const { model, original } = measurement;
  checkComparable(model, original);
  const started = performance.now();
  for (const { stored } of original ? [model, original] : [model]) beginReading(stored);
  const gpu = await openEvaluationGpu(measurement.options);
  const { quality, loaded, report, notes } = await (gpu
    ? measureOnGpu(measurement, gpu)
    : measureOnProcessor(measurement));
  const { divergence } = quality;
  const { windows, text, windowing } = loaded;
  return {
    text,
    windowing,
    windows: windows.length,
    tokens: quality.model.tokens,
    model: modelQuality(model, quality.model),
    original: original && quality.original ? modelQuality(original, quality.original) : null,
    kl: divergence && { mean: divergence.kl / divergence.tokens, worst: divergence.worstKl },
    greedyAgreement: divergence && divergence.equalGreedy / divergence.tokens,
    layers: quality.layers,
    ...report,
    seconds: (performance.now() - started) / 1000,
    recorded: false,
    notes: [...omissions(model.stored, model.stored.description.layers.flatMap(layerLinears)), ...notes],
  };
}

/** A real GPU if there is one, or what is asked for by name; null for the processor. */
async function openEvaluationGpu({ provider, gpuBudgetBytes }: EvaluationOptions): Promise<Gpu | null> {
  if (provider === "wasm") return null;
  if (provider === "auto") {
    const adapter = await requestAdapter().catch(() => null);
    if (!adapter || summarizeAdapter(adapter).software) return null;
  }
  return await openGpu(gpuBudgetBytes);
}

/** By the forward pass that calibration runs; a sample of it by onnxruntime-web as well, which is opened meanwhile. */
async function measureOnGpu(measurement: Measurement, gpu: Gpu): Promise<Measured> {
  const { model, options, signal } = measurement;
  const { stored } = model;
  const opening = waitLater(openCheck(stored, watchSample(stored.description), options.gpuBudgetBytes));
  const { loaded, forward, peakBytes, leftBytes } = await runForward(measurement, gpu).catch(
    async (error: unknown) => {
      await opening.then(async (engine) => await engine[Symbol.asyncDispose]()).catch(() => undefined);
      throw error;
    },
  );
  const { watched, ...quality } = forward;
  const started = performance.now();
  const length = greatestOf(loaded.windows.map((ids) => ids.length));
  const { check, ...checked } = await checkForward(await opening, { watched, length, signal });
  return {
    quality,
    loaded,
    report: {
      forwardPass: "layerpress",
      check,
      provider: "webgpu",
      peakGpuBytes: Math.max(peakBytes, checked.peakBytes),
      leftGpuBytes: leftBytes + checked.leftBytes,
      phases: { ...quality.phases, check: (performance.now() - started) / 1000 },
    },
    notes: checked.notes,
  };
}

/** The GPU is given back before the check computes anything. */
async function runForward(measurement: Measurement, opened: Gpu) {
  const { model, original, options, signal, onProgress } = measurement;
  const models = original ? [model.stored, original.stored] : [model.stored];
  using gpu = opened;
  const ownBytes = gpu.memory.bytes;
  const limits = { budgetBytes: gpu.memory.budgetBytes, maxBufferBytes: bindingLimit(gpu) };
  const wanted = Math.min(options.max_seq_length, model.summary.maxPositions);
  const loaded = await loadWindows({ model, original }, options, {
    tokens: longestPlanned(models, wanted, limits),
    because: "would take more GPU memory than the budget leaves",
  });
  const forward = await measureForward({
    gpu,
    model: model.stored,
    original: original?.stored ?? null,
    sequences: loaded.windows,
    watch: watchSample(model.stored.description),
    signal,
    onProgress: (done, what) => onProgress({ done, what }),
  });
  const { peakBytes, bytes } = gpu.memory;
  return { loaded, forward, peakBytes, leftBytes: bytes - ownBytes };
}

/** By onnxruntime-web in WebAssembly. */
async function measureOnProcessor(measurement: Measurement): Promise<Measured> {
  const { model, original, options, signal, onProgress } = measurement;
  const engine = await createEngine({ budgetBytes: options.gpuBudgetBytes, provider: "wasm" });
  return await closing(engine, async () => {
    const most = mixersOf(model.stored.description.layers).map(({ maxTokens }) => maxTokens);
    const loaded = await loadWindows({ model, original }, options, {
      tokens: Math.min(...most),
      because: "are more than onnxruntime-web computes of this model",
    });
    const quality = await measureQuality({
      engine,
      model: model.stored,
      original: original?.stored ?? null,
      sequences: loaded.windows,
      signal,
      onProgress: (done, what) => onProgress({ done, what }),
    });
    const { phases } = quality;
    return {
      quality,
      loaded,
      report: {
        forwardPass: "onnxruntime-web",
        check: null,
        provider: "wasm",
        peakGpuBytes: 0,
        leftGpuBytes: 0,
        phases,
      },
      notes: [],
    };
  });
}

function checkComparable(model: OpenStoredModel, original: OpenStoredModel | null): void {
  if (!original) return;
  const [a, b] = [model.stored.description, original.stored.description];
  if (a.vocabSize === b.vocabSize && a.hiddenSize === b.hiddenSize && a.layers.length === b.layers.length) {
    return;
  }
  throw new UnsupportedModelError(
    `These cannot be compared: ${model.summary.source.label} and ${original.summary.source.label} have ${a.layers.length} and ${b.layers.length} layers of ${a.hiddenSize} and ${b.hiddenSize} values, and vocabularies of ${a.vocabSize} and ${b.vocabSize}.`,
  );
}

function modelQuality(
  { summary }: OpenStoredModel,
  losses: { readonly loss: number; readonly tokens: number },
): ModelQuality {
  return {
    label: summary.source.label,
    perplexity: Math.exp(losses.loss / losses.tokens),
    weightBytes: summary.weightBytes,
    bitsPerWeight: summary.bitsPerWeight,
  };
}
