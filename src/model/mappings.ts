// What gives a Linear its input, where a factor for each channel can move from one into the other without changing what the
// model computes: a norm and the Linears that read it, up and down, v and o.

import type { Experts, LayerDescription, Mlp } from "./decoder-description.ts";
import { mlpInputLinears, mlpsOf } from "./layer-linears.ts";
import { factsOf } from "./mixers/facts-of.ts";
import type { Linear, Norm } from "./weight-description.ts";
import type { Mixer } from "./mixer-description.ts";

/** Where in a layer a mapping lies. */
export type MappingPlace = "mixer-input" | "mixer-inner" | "mixer-output" | "mlp-input" | "mlp-output";

/** A tensor whose last rows are divided: a norm's weight, a Linear's, a bias. */
export interface SmoothTensor {
  readonly tensor: string;
  readonly rows: number;
  /** 1 for norms that multiply by 1 + w. */
  readonly offset: 0 | 1;
}

/** What a mapping's Linears are the first of, where there are several and nothing else reads the norm. */
export type MappingBlock = "mixer" | "mlp" | "experts";

export interface Mapping {
  readonly place: MappingPlace;
  /** LLM Compressor's "parent", where that is more than one Linear; null for others, and for blocks that are not run by themselves. */
  readonly block: MappingBlock | null;
  /** Module whose output is divided ("model.layers.0.input_layernorm"). */
  readonly smooth: string;
  readonly tensors: readonly SmoothTensor[];
  /** Linears that read that output, all of them: their columns are multiplied. */
  readonly balance: readonly Linear[];
  /** Those of them that are never quantized: routers, and gates of shared experts. */
  readonly carried: readonly Linear[];
  /** Channels. */
  readonly columns: number;
}

/** Every mapping of a layer that is exact, in the order of the forward pass. */
export function layerMappings(layer: LayerDescription): Mapping[] {
  const { norms, mixers, feedForward, parallel } = layer;
  const mixing = mixers.flatMap((mixer) => factsOf(mixer).inputs[0] ?? []);
  const { inputs, carried } = feedForwardInputs(feedForward);
  const apart = feedForward?.kind === "experts" ? apartMapping(feedForward) : null;
  const shared = parallel && norms.feedForwardInput === null;
  const first = shared ? { balance: [...mixing, ...inputs], carried } : { balance: mixing, carried: [] };
  return [
    normMapping("mixer-input", norms.mixerInput, {
      ...first,
      block: !shared && mixing.length > 1 ? mixerBlock(mixers) : null,
    }),
    ...mixers.flatMap(latentMappings),
    ...mixers.map(valueMapping),
    normMapping("mlp-input", norms.feedForwardInput, {
      balance: inputs,
      carried,
      block: inputs.length > 1 ? feedForwardBlock(feedForward) : null,
    }),
    apart,
    ...(feedForward === null ? [] : mlpsOf(feedForward)).map(mlpMapping),
  ].filter((mapping) => mapping !== null);
}

type Readers = Pick<Mapping, "balance" | "carried" | "block">;

function feedForwardInputs(block: Mlp | Experts | null): {
  inputs: readonly Linear[];
  carried: readonly Linear[];
} {
  if (block === null) return { inputs: [], carried: [] };
  if (block.kind === "mlp") return { inputs: mlpInputLinears(block.inputs), carried: [] };
  if (block.apart)
    return { inputs: block.experts.flatMap(({ inputs }) => mlpInputLinears(inputs)), carried: [] };
  const gate = block.shared?.gate ?? null;
  const carried = gate ? [block.router, gate] : [block.router];
  return { inputs: [...carried, ...mlpsOf(block).flatMap(({ inputs }) => mlpInputLinears(inputs))], carried };
}

/** Latent attention writes over its input, and is not run on it twice. */
function mixerBlock([mixer, ...others]: readonly Mixer[]): MappingBlock | null {
  return mixer && others.length === 0 && mixer.kind !== "latent-attention" ? "mixer" : null;
}

/** Experts whose router sees something else than they do are not run by themselves. */
function feedForwardBlock(block: Mlp | Experts | null): MappingBlock | null {
  if (block?.kind === "experts") return block.apart ? null : "experts";
  return block && "mlp";
}

/** Norms of latents, each of which one Linear reads. */
function latentMappings(mixer: Mixer): (Mapping | null)[] {
  if (mixer.kind !== "latent-attention") return [];
  const { query, keyValueNorm, keyValueUp } = mixer;
  const read = (norm: Norm, linear: Linear) =>
    normMapping("mixer-inner", norm, { balance: [linear], carried: [], block: null });
  return [query.kind === "low-rank" ? read(query.norm, query.up) : null, read(keyValueNorm, keyValueUp)];
}

/** A shared expert's own norm, and what reads it. */
function apartMapping({ apart, shared }: Experts): Mapping | null {
  if (!apart || !shared) return null;
  return normMapping("mlp-input", apart.sharedInput, {
    balance: mlpInputLinears(shared.mlp.inputs),
    carried: [],
    block: null,
  });
}

function normMapping(
  place: MappingPlace,
  norm: Norm | null,
  { balance, carried, block }: Readers,
): Mapping | null {
  const columns = balance[0]?.columns;
  if (!norm || norm.weight === null || columns === undefined || norm.weightSize !== columns) return null;
  // Factors go into whole rows of what lies in the files.
  if (balance.some(({ source }) => source.turned)) return null;
  const weight: SmoothTensor = { tensor: norm.weight, rows: columns, offset: norm.weightOffset };
  const bias: SmoothTensor[] = norm.bias === null ? [] : [{ tensor: norm.bias, rows: columns, offset: 0 }];
  const smooth = norm.weight.replace(/\.weight$/, "");
  return { place, block, smooth, tensors: [weight, ...bias], balance, carried, columns };
}

/** Values and outputs where a value head serves several query heads, so that no factor of its own passes along them. */
export function sharedValues({ mixers }: LayerDescription): Mapping[] {
  return mixers.flatMap((mixer) => {
    if (mixer.kind !== "attention" || mixer.heads === mixer.kvHeads) return [];
    return valuesToOutput(mixer) ?? [];
  });
}

/** Values to the output, where each query head has a value head of its own: else a channel of v feeds several of o. */
function valueMapping(mixer: Mixer): Mapping | null {
  if (mixer.kind !== "attention" || mixer.heads !== mixer.kvHeads) return null;
  return valuesToOutput(mixer);
}

function valuesToOutput({
  inputs,
  valueNorm,
  output,
}: Extract<Mixer, { kind: "attention" }>): Mapping | null {
  // A norm takes a factor of its input away again.
  if (valueNorm || inputs.kind === "query") return null;
  // Queries, keys and values that lie in groups: the last rows are not the values.
  if (inputs.kind === "fused" && inputs.groups > 1) return null;
  const value = inputs.kind === "fused" ? inputs.queryKeyValue : inputs.value;
  return linearMapping("mixer-output", value, output);
}

/**
 * The factor that is multiplied last, which is linear in what it is given, if nothing clamps it; of MLPs without a gate only
 * those with a ReLU.
 */
function mlpMapping({ inputs, activation, down }: Mlp): Mapping | null {
  if (typeof activation !== "string" && activation.kind === "clamped-swiglu") return null;
  if (inputs.kind === "plain") {
    return activation === "relu" ? linearMapping("mlp-output", inputs.up, down) : null;
  }
  return linearMapping("mlp-output", inputs.kind === "fused" ? inputs.gateUp : inputs.up, down);
}

/** A Linear whose last rows are another's input; null where either shares its tensor with other Linears. */
function linearMapping(place: MappingPlace, from: Linear, to: Linear): Mapping | null {
  if (!isAlone(from) || !isAlone(to)) return null;
  const { columns } = to;
  const { source, rows, bias } = from;
  const weight: SmoothTensor = { tensor: source.tensor, rows, offset: 0 };
  const tensors = [weight, ...(bias === null ? [] : [{ tensor: bias, rows, offset: 0 } as const])];
  return { place, block: null, smooth: from.module, tensors, balance: [to], carried: [], columns };
}

function isAlone({ source: { shape }, rows, columns }: Linear): boolean {
  return shape.reduce((product, size) => product * size, 1) === rows * columns;
}
