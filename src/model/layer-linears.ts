// The Linears of a layer, in the order in which a forward pass needs them, and which of them share an input.

import type { Experts, FeedForward, LayerDescription, Mlp, MlpInputs } from "./decoder-description.ts";
import { factsOf } from "./mixers/facts-of.ts";
import type { Linear } from "./weight-description.ts";

export function mlpInputLinears(inputs: MlpInputs): readonly Linear[] {
  if (inputs.kind === "gated") return [inputs.gate, inputs.up];
  return [inputs.kind === "fused" ? inputs.gateUp : inputs.up];
}

export function mlpLinears(mlp: Mlp): readonly Linear[] {
  return [...mlpInputLinears(mlp.inputs), mlp.down];
}

/** Linears of the block after the mixers, routers and gates of shared experts included. */
export function feedForwardLinears(block: FeedForward | null): readonly Linear[] {
  if (block === null) return [];
  if (block.kind === "mlp") return mlpLinears(block);
  const gate = block.shared?.gate;
  return [block.router, ...mlpsOf(block).flatMap(mlpLinears), ...(gate ? [gate] : [])];
}

/** Every Linear of the layer that samples run through: a head gives out nothing that is read. */
export function layerLinears(layer: LayerDescription): readonly Linear[] {
  return [...mixerGroups(layer).flat(), ...feedForwardLinears(layer.feedForward), ...tokenLinears(layer)];
}

/** Linears of the block after the feed-forward, in forward order; each has an input of its own. */
export function tokenLinears({ tokenBlock }: LayerDescription): readonly Linear[] {
  return tokenBlock ? [tokenBlock.gate, tokenBlock.projection] : [];
}

/** The mixers' Linears by the input that they share, in forward order: all mixers see the input of the first group. */
function mixerGroups({ mixers }: LayerDescription): readonly (readonly Linear[])[] {
  if (mixers.length === 0) return [];
  const all = mixers.map(factsOf);
  const own = all.flatMap(({ inputs, output }) => [...inputs.slice(1), [output]]);
  return [all.flatMap(({ inputs }) => inputs[0] ?? []), ...own];
}

/** True if the feed-forward of a parallel layer sees the same input as the mixers. */
export function sharesInput({ parallel, norms }: LayerDescription): boolean {
  return parallel && norms.feedForwardInput === null;
}

/** Modules that see the input of all experts, where they are calibrated on all tokens. */
export function expertInputModules(block: Experts): readonly string[] {
  return sharers(block).flatMap(({ inputs }) => mlpInputLinears(inputs).map(({ module }) => module));
}

/** Those of a block's MLPs that see its input; a shared expert may have a norm of its own. */
function sharers(block: FeedForward): readonly Mlp[] {
  return block.kind === "experts" && block.apart ? block.experts : mlpsOf(block);
}

const beforeOutput = new WeakMap<LayerDescription, readonly Linear[]>();

/** The Linears that a pass needs that only wants inputs: all but those whose output is added to the hidden states last. */
export function linearsBeforeOutput(layer: LayerDescription): readonly Linear[] {
  // A plan asks thousands of times, and layers of experts have hundreds.
  const known = beforeOutput.get(layer) ?? findBeforeOutput(layer);
  beforeOutput.set(layer, known);
  return known;
}

function findBeforeOutput(layer: LayerDescription): readonly Linear[] {
  const { mixers, feedForward, parallel, tokenBlock } = layer;
  if (tokenBlock) return layerLinears(layer).filter((linear) => linear !== tokenBlock.projection);
  const last = new Set(feedForward === null ? [] : mlpsOf(feedForward).map(({ down }) => down));
  if (parallel || feedForward === null) for (const { output } of mixers.map(factsOf)) last.add(output);
  return layerLinears(layer).filter((linear) => !last.has(linear));
}

/** The block's only MLP, or its experts and, last, the shared expert. */
export function mlpsOf(block: FeedForward): readonly Mlp[] {
  if (block.kind === "mlp") return [block];
  return block.shared ? [...block.experts, block.shared.mlp] : block.experts;
}

/** How a mixture of experts is calibrated: every expert on all tokens, or each on those that are routed to it. */
export type ExpertCalibration = "all" | "routed";

/** Modules that see one and the same input, so that one set of statistics serves them all. */
export interface Capture {
  readonly modules: readonly string[];
  /** Inputs of each of the modules. */
  readonly columns: number;
}

/**
 * What calibration collects in a layer, in the order in which the forward pass comes by: q, k and v see one input, gate
 * and up another. Experts that are calibrated on all tokens share the block's input; otherwise each has its own. Routers
 * and gates of shared experts are never quantized and therefore not listed.
 */
export function captures(layer: LayerDescription, calibration: ExpertCalibration = "all"): Capture[] {
  const { feedForward } = layer;
  const mixer = mixerGroups(layer);
  const fed = feedForward === null ? [] : feedForwardGroups(feedForward, calibration);
  const last = layer.head ? [[layer.head]] : [];
  const after = [...fed, ...tokenLinears(layer).map((linear) => [linear]), ...last];
  if (!sharesInput(layer)) return [...mixer, ...after].map(capture);
  const [mixerInput = [], ...mixerRest] = mixer;
  const [input = [], ...rest] = after;
  return [[...mixerInput, ...input], ...mixerRest, ...rest].map(capture);
}

/** The Linears of the block after the mixer that are captured, by the input that they share. */
function feedForwardGroups(
  block: FeedForward,
  calibration: ExpertCalibration,
): readonly (readonly Linear[])[] {
  const mlps = mlpsOf(block);
  const alone = (own: readonly Mlp[]) => own.flatMap((mlp) => [mlpInputLinears(mlp.inputs), [mlp.down]]);
  if (calibration === "routed") return alone(mlps);
  const together = sharers(block);
  return [
    together.flatMap(({ inputs }) => mlpInputLinears(inputs)),
    ...together.map(({ down }) => [down]),
    ...alone(mlps.slice(together.length)),
  ];
}

function capture(linears: readonly Linear[]): Capture {
  return { modules: linears.map(({ module }) => module), columns: linears[0]?.columns ?? 0 };
}
