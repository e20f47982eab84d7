// The evaluating worker's side of the contract: up to two open models, one call at a time, nothing held between calls.

import { CalibrationError, invariant, UnsupportedModelError } from "../errors.ts";
import { openGenerator } from "../evaluate/generate/generate.ts";
import { sampleToken, seededRandom } from "../evaluate/generate/sample-token.ts";
import { measureQuality, type Quality } from "../evaluate/quality/measure-quality.ts";
import { createEngine, type Engine } from "../evaluate/runtime/engine.ts";
import { yieldToMessages } from "../evaluate/runtime/yield-to-messages.ts";
import { omissions } from "../evaluate/weights/weight-values.ts";
import { layerLinears } from "../model/layer-linears.ts";
import type { ModelTokenizer } from "../model/tokenizer.ts";
import type { SourceApi } from "./api.ts";
import { loadWindows } from "./evaluation-windows.ts";
import type {
  EvaluationOptions,
  EvaluationProgress,
  EvaluatorApi,
  Generation,
  GenerationOptions,
  GenerationUpdate,
  ModelQuality,
  ProviderChoice,
  QualityReport,
} from "./evaluator-api.ts";
import { type OpenStoredModel, openStoredModel } from "./open-stored-model.ts";

type Role = "model" | "original";

/** @param createSource makes the source of one model; the two are read side by side */
export function createEvaluator(createSource: () => SourceApi): EvaluatorApi {
  const models = new Map<Role, OpenStoredModel>();
  const sources = new Map<Role, SourceApi>();
  /** Models whose chunks were stored before: a job may want them. */
  const kept = new Set<Role>();
  let running = new AbortController();
  const opened = (role: Role) => {
    const model = models.get(role);
    invariant(model, `the ${role} is open`);
    return model;
  };
  /** What was downloaded for a call is not left behind. */
  const tidy = async () => {
    for (const [role, { source, summary }] of models) {
      const isRemote = summary.source.host !== null;
      if (isRemote && !kept.has(role)) await source.deleteStored(summary.source.key);
    }
  };
  return {
    async open(role, reference, token) {
      const source = sources.get(role) ?? createSource();
      sources.set(role, source);
      models.delete(role);
      const model = await openStoredModel(source, reference, token);
      models.set(role, model);
      kept.delete(role);
      if (source.progress().storedBytes > 0) kept.add(role);
      return model.summary;
    },
    async measure(options, onProgress) {
      running = new AbortController();
      const original = models.get("original") ?? null;
      const { signal } = running;
      try {
        return await measure({ model: opened("model"), original, options, signal, onProgress });
      } finally {
        await tidy();
      }
    },
    async generate(role, options, onUpdate) {
      running = new AbortController();
      try {
        return await generate({ model: opened(role), options, signal: running.signal, onUpdate });
      } finally {
        await tidy();
      }
    },
    stop: () => running.abort(),
  };
}

interface Measurement {
  readonly model: OpenStoredModel;
  readonly original: OpenStoredModel | null;
  readonly options: EvaluationOptions;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: EvaluationProgress) => void;
}

async function measure(measurement: Measurement): Promise<QualityReport> {
  const { model, original, options, signal, onProgress } = measurement;
  checkComparable(model, original);
  const started = performance.now();
  const { windows, text, windowing } = await loadWindows(model, options);
  const engine = await openEngine(options.provider, options.gpuBudgetBytes);
  let quality: Quality;
  try {
    quality = await measureQuality({
      engine,
      model: model.stored,
      original: original?.stored ?? null,
      sequences: windows,
      signal,
      onProgress: (done, what) => onProgress({ done, what }),
    });
  } finally {
    await engine[Symbol.asyncDispose]();
  }
  const { divergence } = quality;
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
    seconds: (performance.now() - started) / 1000,
    notes: omissions(model.stored, model.stored.description.layers.flatMap(layerLinears)),
  };
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

async function openEngine(provider: ProviderChoice, budgetBytes: number): Promise<Engine> {
  return await createEngine({ budgetBytes, ...(provider === "auto" ? {} : { provider }) });
}

interface GenerationRun {
  readonly model: OpenStoredModel;
  readonly options: GenerationOptions;
  readonly signal: AbortSignal;
  readonly onUpdate: (update: GenerationUpdate) => void;
}

async function generate(run: GenerationRun): Promise<Generation> {
  const engine = await openEngine(run.options.provider, run.options.gpuBudgetBytes);
  try {
    return await generateWith(engine, run);
  } finally {
    await engine[Symbol.asyncDispose]();
  }
}

async function generateWith(engine: Engine, { model, options, signal, onUpdate }: GenerationRun) {
  const started = performance.now();
  const tokenizer = requireTokenizer(model);
  const prompt = encodePrompt(tokenizer, options);
  const limit = Math.min(model.summary.maxPositions, prompt.length + options.maxTokens);
  if (prompt.length >= model.summary.maxPositions) {
    throw new CalibrationError(
      `The prompt has ${prompt.length} tokens; this model sees ${model.summary.maxPositions} at most. Shorten it.`,
    );
  }
  using decoder = await openGenerator(engine, model.stored, limit);
  const random = seededRandom(options.seed);
  const ids = [...prompt];
  const generated = () => ids.slice(prompt.length);
  let known = 0;
  let firstAt = 0;
  let stop: Generation["stop"] = "length";
  const update = (): GenerationUpdate => ({
    text: tokenizer.decode(Uint32Array.from(generated()), true),
    tokens: ids.length - prompt.length,
    tokensPerSecond: rate(ids.length - prompt.length - 1, firstAt),
  });
  while (ids.length < limit) {
    await yieldToMessages();
    if (signal.aborted) stop = "stopped";
    if (signal.aborted) break;
    const logits = await decoder.next(ids, known);
    known = ids.length;
    firstAt ||= performance.now();
    const token = sampleToken(logits, options, random);
    if (model.endIds.has(token)) stop = "end";
    if (model.endIds.has(token)) break;
    ids.push(token);
    onUpdate(update());
  }
  return {
    ...update(),
    ids: generated(),
    promptTokens: prompt.length,
    stop,
    provider: engine.provider,
    secondsToFirst: (firstAt - started) / 1000,
    weights: decoder.weights,
    peakGpuBytes: engine.gpu?.peakBytes() ?? 0,
  };
}

/** Tokens per second after the first. */
function rate(tokens: number, since: number): number {
  const seconds = (performance.now() - since) / 1000;
  return tokens > 0 && seconds > 0 ? tokens / seconds : 0;
}

function requireTokenizer({ tokenizer, summary }: OpenStoredModel): ModelTokenizer {
  if (tokenizer) return tokenizer;
  throw new UnsupportedModelError(
    `${summary.source.label} has no tokenizer.json, so that a prompt cannot be turned into its tokens.`,
  );
}

function encodePrompt(tokenizer: ModelTokenizer, { prompt, chat }: GenerationOptions): number[] {
  const ids =
    chat && tokenizer.hasChatTemplate
      ? tokenizer.encodeChat([{ role: "user", content: prompt }], true)
      : tokenizer.encode(prompt);
  if (ids.length > 0) return [...ids];
  throw new CalibrationError("The prompt is empty. Write something for the model to go on from.");
}
