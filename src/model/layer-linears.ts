// The Linears of a layer, in the order in which a forward pass needs them, and which of them share an input.

import type {
  AttentionInputs,
  Experts,
  LayerDescription,
  Linear,
  Mlp,
  MlpInputs,
} from "./decoder-description.ts";

export function attentionLinears(inputs: AttentionInputs): readonly Linear[] {
  return inputs.kind === "fused" ? [inputs.queryKeyValue] : [inputs.query, inputs.key, inputs.value];
}

export function mlpInputLinears(inputs: MlpInputs): readonly Linear[] {
  if (inputs.kind === "gated") return [inputs.gate, inputs.up];
  return [inputs.kind === "fused" ? inputs.gateUp : inputs.up];
}

export function mlpLinears(mlp: Mlp): readonly Linear[] {
  return [...mlpInputLinears(mlp.inputs), mlp.down];
}

/** Linears of the block after attention, routers and gates of shared experts included. */
export function feedForwardLinears(block: Mlp | Experts): readonly Linear[] {
  if (block.kind === "mlp") return mlpLinears(block);
  return [block.router, ...mlpsOf(block).flatMap(mlpLinears), ...(block.shared ? [block.shared.gate] : [])];
}

/** Every Linear of the layer. */
export function layerLinears({ attention, feedForward }: LayerDescription): readonly Linear[] {
  return [...attentionLinears(attention.inputs), attention.output, ...feedForwardLinears(feedForward)];
}

/** The Linears that a pass needs that only wants inputs: all but those whose output is added to the hidden states last. */
export function linearsBeforeOutput(layer: LayerDescription): readonly Linear[] {
  const { attention, feedForward, parallel } = layer;
  const mlps = feedForward.kind === "mlp" ? [feedForward] : mlpsOf(feedForward);
  const last = new Set(mlps.map(({ down }) => down));
  if (parallel) last.add(attention.output);
  return layerLinears(layer).filter((linear) => !last.has(linear));
}

/** The experts and, last, the shared expert. */
export function mlpsOf({ experts, shared }: Experts): readonly Mlp[] {
  return shared ? [...experts, shared.mlp] : experts;
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
  const { attention, feedForward, parallel } = layer;
  const attentionInput = attentionLinears(attention.inputs);
  const output = capture([attention.output]);
  if (feedForward.kind === "experts") {
    return [capture(attentionInput), output, ...expertCaptures(feedForward, calibration)];
  }
  const mlpInput = mlpInputLinears(feedForward.inputs);
  const down = capture([feedForward.down]);
  return parallel
    ? [capture([...attentionInput, ...mlpInput]), output, down]
    : [capture(attentionInput), output, capture(mlpInput), down];
}

function expertCaptures(block: Experts, calibration: ExpertCalibration): Capture[] {
  const mlps = mlpsOf(block);
  const inputs = mlps.map(({ inputs: linears }) => mlpInputLinears(linears));
  if (calibration === "all") return [capture(inputs.flat()), ...mlps.map(({ down }) => capture([down]))];
  return mlps.flatMap(({ down }, index) => [capture(inputs[index] ?? []), capture([down])]);
}

function capture(linears: readonly Linear[]): Capture {
  return { modules: linears.map(({ module }) => module), columns: linears[0]?.columns ?? 0 };
}
