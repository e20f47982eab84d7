// A prompt and what a model makes of it: tokens in, tokens out, one at a time.

import { CalibrationError, UnsupportedModelError } from "../../errors.ts";
import { type Decoder, openGenerator } from "../../evaluate/generate/generate.ts";
import type { PhaseClock } from "../../evaluate/quality/phase-clock.ts";
import { sampleToken, seededRandom } from "../../evaluate/generate/sample-token.ts";
import { closing, type Engine } from "../../evaluate/runtime/engine.ts";
import { yieldToMessages } from "../../yield-to-messages.ts";
import type { ModelTokenizer } from "../../model/tokenizer/model-tokenizer.ts";
import { beginReading } from "./begin-reading.ts";
import type { EngineOpener, EngineOpening } from "./engine-opener.ts";
import { engineOptions } from "./engine-options.ts";
import type { Generation, GenerationOptions, GenerationUpdate } from "../../api/evaluator-api.ts";
import type { OpenStoredModel } from "./open-stored-model.ts";

interface GenerationRun {
  readonly engines: EngineOpener;
  readonly model: OpenStoredModel;
  readonly options: GenerationOptions;
  readonly signal: AbortSignal;
  readonly onUpdate: (update: GenerationUpdate) => void;
}

/**
 * Lets a model go on from a prompt, token by token.
 * @throws UnsupportedModelError without a tokenizer, CalibrationError for a prompt that is empty or too long
 */
export async function generateText(run: GenerationRun): Promise<Generation> {
  const opening = run.engines.take(engineOptions(run.options));
  const { clock } = opening;
  const asked = clock.now();
  const encoded = await encode(run, opening);
  beginReading(run.model.stored);
  const engine = await opening.engine;
  return await closing(engine, async () => await generateWith(engine, run, { ...encoded, clock, asked }));
}

/** The prompt's tokens; of one that is refused, the engine waits for the next. */
async function encode(
  run: GenerationRun,
  opening: EngineOpening,
): Promise<Pick<Prompt, "tokenizer" | "prompt">> {
  try {
    const tokenizer = requireTokenizer(run.model);
    const prompt = await opening.clock.time("encoding", async () => await encodePrompt(tokenizer, run));
    return { tokenizer, prompt };
  } catch (error) {
    run.engines.giveBack(opening);
    throw error;
  }
}

interface Prompt {
  readonly tokenizer: ModelTokenizer;
  readonly prompt: readonly number[];
  readonly clock: PhaseClock;
  /** When it was asked for, by that clock. */
  readonly asked: number;
}

async function generateWith(
  engine: Engine,
  { model, options, signal, onUpdate }: GenerationRun,
  { tokenizer, prompt, clock, asked }: Prompt,
): Promise<Generation> {
  const limit = Math.min(model.summary.maxPositions, prompt.length + options.maxTokens);
  using decoder = await openGenerator(engine, model.stored, limit);
  const random = seededRandom(options.seed);
  const ids = [...prompt];
  const generated = () => ids.slice(prompt.length);
  let known = 0;
  const timing = () => ({ secondsToFirst: clock.now() - asked, timeline: clock.spans(asked) });
  let first: ReturnType<typeof timing> | null = null;
  let stop: Generation["stop"] = "length";
  const update = async (): Promise<GenerationUpdate> => ({
    text: await tokenizer.decode(Uint32Array.from(generated()), true),
    tokens: ids.length - prompt.length,
    tokensPerSecond: rate(
      ids.length - prompt.length - 1,
      timing().secondsToFirst - (first?.secondsToFirst ?? 0),
    ),
  });
  while (ids.length < limit) {
    await yieldToMessages();
    if (signal.aborted) stop = "stopped";
    if (signal.aborted) break;
    const logits = await clock.time(
      known === 0 ? "prompt" : "tokens",
      async () => await decoder.next(ids, known),
    );
    known = ids.length;
    const token = sampleToken(logits, options, random);
    first ??= timing();
    if (model.endIds.has(token)) stop = "end";
    if (model.endIds.has(token)) break;
    ids.push(token);
    onUpdate(await update());
  }
  return {
    ...(await update()),
    ids: generated(),
    promptTokens: prompt.length,
    stop,
    ...(first ?? timing()),
    phases: clock.seconds(),
    ...workOf(engine, decoder),
  };
}

function workOf(engine: Engine, decoder: Decoder) {
  return {
    provider: engine.provider,
    weights: decoder.weights,
    captured: decoder.isCaptured(),
    peakGpuBytes: engine.gpu?.peakBytes() ?? 0,
  };
}

/** Tokens per second after the first. */
function rate(tokens: number, seconds: number): number {
  return tokens > 0 && seconds > 0 ? tokens / seconds : 0;
}

function requireTokenizer({ tokenizer, summary }: OpenStoredModel): ModelTokenizer {
  if (tokenizer) return tokenizer;
  throw new UnsupportedModelError(
    `There is no tokenizer.json in ${summary.source.label}, so that a prompt cannot be turned into its tokens.`,
  );
}

async function encodePrompt(
  tokenizer: ModelTokenizer,
  { model, options }: GenerationRun,
): Promise<readonly number[]> {
  const { prompt, chat } = options;
  const ids =
    chat && tokenizer.hasChatTemplate
      ? await tokenizer.encodeChat({ messages: [{ role: "user", content: prompt }], tools: null }, true)
      : await tokenizer.encode(prompt, "The prompt");
  if (ids.length === 0) {
    throw new CalibrationError("The prompt is empty. Write something for the model to go on from.");
  }
  const { maxPositions } = model.summary;
  if (ids.length >= maxPositions) {
    throw new CalibrationError(
      `The prompt has ${ids.length} tokens; this model sees ${maxPositions} at most. Shorten it.`,
    );
  }
  return [...ids];
}
