import type { EvaluatedModel, Generation, QualityReport } from "../../api/evaluator-api.ts";
import type { Evaluator } from "../../api/across-threads.ts";
import type { OpenedSource } from "../../api/source-api.ts";

export const QUALITY: QualityReport = {
  text: "built-in text",
  windowing: "Each line is a window.",
  windows: 10,
  tokens: 900,
  model: {
    label: "Llama-3.1-8B-Instruct-W4A16",
    perplexity: 7.4,
    weightBytes: 5_735_718_912,
    bitsPerWeight: 4.16,
  },
  original: {
    label: "Llama-3.1-8B-Instruct",
    perplexity: 7.1,
    weightBytes: 16_060_522_496,
    bitsPerWeight: 16,
  },
  kl: { mean: 0.021, worst: 0.9 },
  greedyAgreement: 0.93,
  layers: [
    { layer: "model.layers.0", relativeError: 0.01 },
    { layer: "model.layers.1", relativeError: 0.03 },
  ],
  forwardPass: "layerpress",
  check: {
    tokens: 128,
    layers: ["model.layers.0", "model.layers.1"],
    layer: "model.layers.1",
    statesDifference: 2.5e-6,
    logits: { tokens: 16, ids: 1024 },
    logitsDifference: 1e-6,
    tolerance: { states: 1e-3, logits: 1e-3 },
    agrees: true,
  },
  provider: "webgpu",
  peakGpuBytes: 900 * 1024 ** 2,
  leftGpuBytes: 0,
  phases: { weights: 20, layers: 15, predictions: 7 },
  seconds: 42,
  recorded: true,
  notes: [],
};

const GENERATION: Generation = {
  text: " a river",
  tokens: 2,
  tokensPerSecond: 20,
  ids: [5, 7],
  promptTokens: 4,
  stop: "length",
  provider: "webgpu",
  secondsToFirst: 1.2,
  timeline: { runtime: { from: 0, to: 0.2 }, weights: { from: 0.2, to: 1 }, prompt: { from: 1, to: 1.2 } },
  phases: { runtime: 0.2, sessions: 0.3, weights: 0.6, prompt: 0.2 },
  weights: "resident",
  captured: true,
  peakGpuBytes: 900 * 1024 ** 2,
};

/** An evaluator that answers at once; `source` is what it says to have opened. */
export function fakeEvaluator(source: OpenedSource): Evaluator {
  const opened: EvaluatedModel = {
    source,
    format: "pack-quantized",
    weightBytes: 5_735_718_912,
    bitsPerWeight: 4.16,
    hasTokenizer: true,
    hasChatTemplate: true,
    maxPositions: 131_072,
  };
  const nothing = async () => undefined;
  return {
    open: async () => opened,
    close: nothing,
    prepare: nothing,
    release: nothing,
    measure: async () => QUALITY,
    generate: async () => GENERATION,
    stop: nothing,
  };
}
