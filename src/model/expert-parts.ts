// Mixtures of experts as checkpoints hold them: a Linear for each expert, or two tensors with all experts stacked.

import * as v from "valibot";
import { MalformedModelError, UnsupportedModelError } from "../errors.ts";
import { count, DATA_FREE_HINT, expertCount, flag, intermediateSize, layerNumbers } from "./config-fields.ts";
import type { Experts, Linear, Mlp } from "./decoder-description.ts";
import { type DecoderTensors, linear, type MlpShape, mlpWith } from "./decoder-parts.ts";

/** Fields of the Qwen families; `defaults` are those of the configuration class. */
export function expertFields(defaults: {
  readonly experts: number;
  readonly topK: number;
  readonly size: number;
}) {
  return {
    num_experts: v.nullish(expertCount),
    /** What newer files call it. */
    num_local_experts: v.optional(expertCount, defaults.experts),
    num_experts_per_tok: v.optional(expertCount, defaults.topK),
    moe_intermediate_size: v.optional(intermediateSize, defaults.size),
    norm_topk_prob: v.optional(flag, false),
    decoder_sparse_step: v.optional(v.pipe(count(), v.minValue(1)), 1),
    mlp_only_layers: v.nullish(layerNumbers),
  };
}

export interface ExpertSettings {
  readonly num_experts?: number | null | undefined;
  readonly num_local_experts: number;
  readonly num_experts_per_tok: number;
  readonly moe_intermediate_size: number;
  readonly norm_topk_prob: boolean;
  readonly decoder_sparse_step: number;
  readonly mlp_only_layers?: readonly number[] | null | undefined;
}

function countOf({ num_experts, num_local_experts }: ExpertSettings): number {
  return num_experts ?? num_local_experts;
}

/** True for layers with experts, false for those with an MLP of `intermediate_size`. */
export function hasExperts(settings: ExpertSettings, layer: number): boolean {
  if (settings.mlp_only_layers?.includes(layer)) return false;
  return countOf(settings) > 0 && (layer + 1) % settings.decoder_sparse_step === 0;
}

/** Experts of a Qwen model, whose Linears are named like its MLP's. */
export function qwenExperts(
  tensors: DecoderTensors,
  module: string,
  settings: ExpertSettings,
  shape: Omit<MlpShape, "intermediateSize">,
): Experts {
  return experts(tensors, {
    module,
    names: { gate: "gate_proj", up: "up_proj", down: "down_proj" },
    count: countOf(settings),
    topK: settings.num_experts_per_tok,
    normalizeTopK: settings.norm_topk_prob,
    shape: { ...shape, intermediateSize: settings.moe_intermediate_size },
  });
}

export interface ExpertsOptions {
  /** Module that holds router and experts ("model.layers.0.mlp"). */
  readonly module: string;
  /** Names of the Linears of one expert. */
  readonly names: { readonly gate: string; readonly up: string; readonly down: string };
  readonly count: number;
  readonly topK: number;
  readonly normalizeTopK: boolean;
  /** Sizes of one expert. */
  readonly shape: MlpShape;
}

/**
 * A router (`gate`) and its experts.
 * @throws MalformedModelError if no expert is to be chosen, or more than there are.
 */
export function experts(tensors: DecoderTensors, options: ExpertsOptions): Experts {
  const { module, topK, normalizeTopK, shape } = options;
  if (topK < 1 || topK > options.count) {
    throw new MalformedModelError(
      `config.json: num_experts_per_tok is ${topK}, of ${options.count} experts.`,
    );
  }
  const isStacked = tensors.has(`${module}.experts.gate_up_proj`);
  return {
    kind: "experts",
    router: linear(`${module}.gate`, options.count, shape.hiddenSize),
    topK,
    normalizeTopK,
    experts: Array.from({ length: options.count }, (_, index) =>
      isStacked ? stackedExpert(options, index) : separateExpert(options, index, tensors),
    ),
    shared: null,
  };
}

/** Each has to be there before the next is described: a few digits in config.json must not make millions of them. */
function separateExpert(
  { module, names, shape }: ExpertsOptions,
  index: number,
  tensors: DecoderTensors,
): Mlp {
  const { hiddenSize, intermediateSize: inner } = shape;
  const name = (part: string) => `${module}.experts.${index}.${part}`;
  const tensor = `${name(names.gate)}.weight`;
  if (!tensors.has(tensor)) {
    throw new UnsupportedModelError(
      `The checkpoint lacks the tensor "${tensor}", which config.json asks for. ${DATA_FREE_HINT}`,
    );
  }
  const gate = linear(name(names.gate), inner, hiddenSize);
  const up = linear(name(names.up), inner, hiddenSize);
  return mlpWith({ kind: "gated", gate, up }, linear(name(names.down), hiddenSize, inner), shape);
}

/** Rows of gate_up_proj, (experts, 2 · intermediate, hidden), and down_proj; the result names each expert's Linears. */
function stackedExpert(options: ExpertsOptions, index: number): Mlp {
  const { module, names, shape } = options;
  const { hiddenSize, intermediateSize: inner } = shape;
  const slice = (part: string, tensor: string, rows: number, columns: number, place: [number, number]) => {
    const [perExpert, offset] = place;
    return {
      ...linear(`${module}.experts.${index}.${part}`, rows, columns),
      source: {
        tensor: `${module}.experts.${tensor}`,
        shape: [options.count, perExpert, columns],
        firstRow: index * perExpert + offset,
      },
    } satisfies Linear;
  };
  const both = 2 * inner;
  const gate = slice(names.gate, "gate_up_proj", inner, hiddenSize, [both, 0]);
  const up = slice(names.up, "gate_up_proj", inner, hiddenSize, [both, inner]);
  const down = slice(names.down, "down_proj", hiddenSize, inner, [hiddenSize, 0]);
  return mlpWith({ kind: "gated", gate, up }, down, shape);
}
