// Perplexity of a model, and how far it is from the original, as a report.

import { UnsupportedModelError } from "../../errors.ts";
import { measureQuality, type Quality } from "../../evaluate/quality/measure-quality.ts";
import { longestWindow } from "../../evaluate/quality/window-limit.ts";
import { createEngine, type Engine } from "../../evaluate/runtime/engine.ts";
import { omissions } from "../../evaluate/weights/weight-values.ts";
import { layerLinears } from "../../model/layer-linears.ts";
import { engineOptions } from "./engine-options.ts";
import { type EvaluationWindows, loadWindows } from "./load-windows.ts";
import type {
  EvaluationOptions,
  EvaluationProgress,
  ModelQuality,
  QualityReport,
} from "../../api/evaluator-api.ts";
import type { OpenStoredModel } from "./open-stored-model.ts";

interface Measurement {
  readonly model: OpenStoredModel;
  readonly original: OpenStoredModel | null;
  readonly options: EvaluationOptions;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: EvaluationProgress) => void;
}

/** Measures a model, against an original if there is one. */
export async function measureModels(measurement: Measurement): Promise<QualityReport> {
  const { model, original, options, signal, onProgress } = measurement;
  checkComparable(model, original);
  const started = performance.now();
  const engine = await createEngine(engineOptions(options));
  let quality: Quality;
  let loaded: EvaluationWindows;
  try {
    loaded = await loadWindows({ model, original }, options, windowLimit(engine, model));
    quality = await measureQuality({
      engine,
      model: model.stored,
      original: original?.stored ?? null,
      sequences: loaded.windows,
      signal,
      onProgress: (done, what) => onProgress({ done, what }),
    });
  } finally {
    await engine[Symbol.asyncDispose]();
  }
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
    provider: engine.provider,
    peakGpuBytes: engine.gpu?.peakBytes() ?? 0,
    leftGpuBytes: engine.gpu?.liveBytes() ?? 0,
    phases: quality.phases,
    seconds: (performance.now() - started) / 1000,
    recorded: false,
    notes: omissions(model.stored, model.stored.description.layers.flatMap(layerLinears)),
  };
}

function windowLimit({ gpu }: Engine, { stored }: OpenStoredModel): number {
  return gpu ? longestWindow(stored.description, gpu.memory.budgetBytes) : Number.POSITIVE_INFINITY;
}

function checkComparable(model: OpenStoredModel, original: OpenStoredModel | null): void {
  if (!original) return;
  const [a, b] = [model.stored.description, original.stored.description];
  if (a.vocabSize === b.vocabSize && a.hiddenSize === b.hiddenSize && a.layers.length === b.layers.length) {
    return;
  }
  throw new UnsupportedModelError(
    `${model.summary.source.label} and ${original.summary.source.label} cannot be compared: they have ${a.layers.length} and ${b.layers.length} layers of ${a.hiddenSize} and ${b.hiddenSize} values, and vocabularies of ${a.vocabSize} and ${b.vocabSize}.`,
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
