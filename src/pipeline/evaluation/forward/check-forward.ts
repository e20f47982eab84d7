// The first tokens of an evaluation once more by onnxruntime-web, an engine that shares no kernel with the forward pass that the
// figures are of.

import type { ForwardCheck } from "../../../api/evaluator-api.ts";
import { invariant, LayerpressError } from "../../../errors.ts";
import { runWindow } from "../../../evaluate/quality/run-window.ts";
import { squaredDifferences } from "../../../evaluate/quality/squared-differences.ts";
import { createEngine, type Engine } from "../../../evaluate/runtime/engine.ts";
import type { StoredModel } from "../../../evaluate/weights/stored-model.ts";
import { layerLinears } from "../../../model/layer-linears.ts";
import type { WatchedTokens } from "./measure-forward.ts";
import { roundsInput } from "./stored-weights.ts";

/** Tokens that are looked at: the check takes one run of them through each layer. */
export const CHECKED_TOKENS = 128;

/** Relative differences of hidden states, and of perplexities, that float32 in another order of sums comes to. */
const TOLERANCE = { states: 1e-3, perplexity: 1e-3 };
/** A value between two codes goes to either, by its last digit, and layers behind it see a whole step. */
const ROUNDED_TOLERANCE = { states: 0.05, perplexity: 0.02 };

export interface CheckRequest {
  readonly model: StoredModel;
  readonly watched: WatchedTokens;
  /** Tokens of the sequence that they begin. */
  readonly length: number;
  readonly budgetBytes: number;
  readonly signal: AbortSignal;
}

/** What came of a check: figures, or the sentence that says why there are none; peak and rest of what the engine took. */
export interface CheckOutcome {
  readonly check: ForwardCheck | null;
  readonly notes: readonly string[];
  readonly peakBytes: number;
  readonly leftBytes: number;
}

/** Runs the watched tokens by onnxruntime-web. That it cannot is told, not thrown: the figures stand without it. */
export async function checkForward(request: CheckRequest): Promise<CheckOutcome> {
  const engine = await createEngine({ budgetBytes: request.budgetBytes, provider: "webgpu" });
  let found: Pick<CheckOutcome, "check" | "notes">;
  try {
    found = await runCheck(engine, request);
  } finally {
    await engine[Symbol.asyncDispose]();
  }
  const { gpu } = engine;
  return { ...found, peakBytes: gpu?.peakBytes() ?? 0, leftBytes: gpu?.liveBytes() ?? 0 };
}

async function runCheck(engine: Engine, { model, watched, length, signal }: CheckRequest) {
  try {
    const other = await runWindow(engine, model, { ids: watched.ids, length }, signal);
    const check = compareRuns(model, watched, other);
    return { check, notes: check.agrees ? [] : [disagreement(check)] };
  } catch (error) {
    if (!(error instanceof LayerpressError)) throw error;
    return { check: null, notes: [`These figures were not checked by onnxruntime-web: ${error.message}`] };
  }
}

/** Differences of two runs of the same tokens, relative to the other one. */
export function compareRuns(
  model: StoredModel,
  own: Pick<WatchedTokens, "states" | "losses">,
  other: Pick<WatchedTokens, "states" | "losses">,
): ForwardCheck {
  const { layers } = model.description;
  const differences = layers.map(({ name }, index) => {
    const [a, b] = [own.states[index], other.states[index]];
    invariant(a && b, "both runs have states behind each layer");
    const { difference, norm } = squaredDifferences(a, b, model.description);
    return { layer: name, difference: Math.sqrt(difference / (norm || 1)) };
  });
  const [worst] = differences.toSorted((a, b) => b.difference - a.difference);
  invariant(worst, "a decoder has layers");
  const mean = (losses: readonly number[]) => losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  const [perplexity, otherPerplexity] = [Math.exp(mean(own.losses)), Math.exp(mean(other.losses))];
  const linears = layers.flatMap(layerLinears);
  const tolerance = linears.some((linear) => roundsInput(model, linear)) ? ROUNDED_TOLERANCE : TOLERANCE;
  const ratio = Math.abs(perplexity / otherPerplexity - 1);
  return {
    tokens: own.losses.length,
    layer: worst.layer,
    statesDifference: worst.difference,
    perplexity,
    otherPerplexity,
    tolerance,
    agrees: worst.difference <= tolerance.states && ratio <= tolerance.perplexity,
  };
}

function disagreement({
  layer,
  statesDifference,
  perplexity,
  otherPerplexity,
  tolerance,
}: ForwardCheck): string {
  return `onnxruntime-web does not agree with these figures: on the first tokens its hidden states are off by ${statesDifference.toExponential(1)} after ${layer} (${tolerance.states} is allowed), and its perplexity is ${otherPerplexity.toFixed(4)} instead of ${perplexity.toFixed(4)}. One of the two is wrong on this GPU; do not trust the figures.`;
}
