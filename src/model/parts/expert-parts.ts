// Mixtures of experts as checkpoints hold them: a Linear for each expert, or two tensors with all experts stacked.

import * as v from "valibot";
import { MalformedModelError, UnsupportedModelError } from "../../errors.ts";
import {
  count,
  DATA_FREE_HINT,
  expertCount,
  finite,
  flag,
  intermediateSize,
  layerNumbers,
} from "./config-fields.ts";
import type { Experts, Mlp, Routing } from "../decoder-description.ts";
import { type DecoderTensors, gatedMlp, linear, type MlpShape, mlpWith } from "./decoder-parts.ts";
import type { Linear } from "../weight-description.ts";

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
    names: EXPERT_NAMES,
    count: countOf(settings),
    topK: settings.num_experts_per_tok,
    normalizeTopK: settings.norm_topk_prob,
    shape: { ...shape, intermediateSize: settings.moe_intermediate_size },
  });
}

/** Experts of a Qwen model and one more that sees every token through a gate, or an MLP in layers without experts. */
export function qwenSharedExperts(
  tensors: DecoderTensors,
  module: string,
  settings: ExpertSettings & {
    readonly intermediate_size: number;
    readonly shared_expert_intermediate_size: number;
  },
  shape: Omit<MlpShape, "intermediateSize">,
  layer: number,
): Experts | Mlp {
  const { intermediate_size, shared_expert_intermediate_size } = settings;
  if (!hasExperts(settings, layer))
    return gatedMlp(module, { ...shape, intermediateSize: intermediate_size });
  return {
    ...qwenExperts(tensors, module, settings, shape),
    shared: qwenSharedExpert(module, { ...shape, intermediateSize: shared_expert_intermediate_size }),
  };
}

/** The expert that sees every token, through a gate. */
export function qwenSharedExpert(module: string, shape: MlpShape): Experts["shared"] {
  return {
    mlp: gatedMlp(`${module}.shared_expert`, shape),
    gate: linear(`${module}.shared_expert_gate`, 1, shape.hiddenSize),
  };
}

export interface ExpertsOptions {
  /** Module that holds router and experts ("model.layers.0.mlp"). */
  readonly module: string;
  /** Names of the Linears of one expert. */
  readonly names: {
    /** Null for MLPs of two Linears. */
    readonly gate: string | null;
    readonly up: string;
    readonly down: string;
  };
  /** Tensors of all experts' weights, after the module; default experts.gate_up_proj and experts.down_proj. */
  readonly stacked?: { readonly gateUp: string; readonly down: string };
  /** An expert of such tensors where they do not hold rows of all gates, then of all ups. */
  readonly stackedExpert?: (index: number) => Mlp;
  readonly count: number;
  readonly topK: number;
  readonly normalizeTopK: boolean;
  /** Sizes of one expert. */
  readonly shape: MlpShape;
  /** Name of the router's Linear; default gate. */
  readonly routerName?: string;
  readonly routerBias?: boolean;
  readonly scoring?: Routing["scoring"];
  readonly correction?: string | null;
  readonly groups?: Routing["groups"];
  readonly scale?: number;
  readonly weighsInputs?: boolean;
  readonly shared?: Experts["shared"];
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
  const isStacked = tensors.has(stackedNames(options).gateUp);
  return {
    kind: "experts",
    router: linear(
      `${module}.${options.routerName ?? "gate"}`,
      options.count,
      shape.hiddenSize,
      options.routerBias,
    ),
    topK,
    normalizeTopK,
    scoring: options.scoring ?? "softmax",
    correction: options.correction ?? null,
    groups: options.groups ?? null,
    scale: options.scale ?? 1,
    weighsInputs: options.weighsInputs ?? false,
    experts: Array.from({ length: options.count }, (_, index) =>
      isStacked
        ? (options.stackedExpert?.(index) ?? stackedExpert(options, index))
        : separateExpert(options, index, tensors),
    ),
    shared: options.shared ?? null,
  };
}

/** Each has to be there before the next is described: a few digits in config.json must not make millions of them. */
function separateExpert(
  { module, names, shape }: ExpertsOptions,
  index: number,
  tensors: DecoderTensors,
): Mlp {
  const { hiddenSize, intermediateSize: inner, bias } = shape;
  const name = (part: string) => `${module}.experts.${index}.${part}`;
  const tensor = `${name(names.gate ?? names.up)}.weight`;
  if (!tensors.has(tensor)) {
    throw new UnsupportedModelError(
      `The checkpoint lacks the tensor "${tensor}", which config.json asks for. ${DATA_FREE_HINT}`,
    );
  }
  const up = linear(name(names.up), inner, hiddenSize, bias);
  const down = linear(name(names.down), hiddenSize, inner, bias);
  const gate = names.gate === null ? null : linear(name(names.gate), inner, hiddenSize, bias);
  return mlpWith(gate ? { kind: "gated", gate, up } : { kind: "plain", up }, down, shape);
}

function stackedNames({ module, stacked }: ExpertsOptions) {
  const { gateUp, down } = stacked ?? { gateUp: "experts.gate_up_proj", down: "experts.down_proj" };
  return { gateUp: `${module}.${gateUp}`, down: `${module}.${down}` };
}

/** Rows of gate_up_proj, (experts, 2 · intermediate, hidden), and down_proj; the result names each expert's Linears. */
function stackedExpert(options: ExpertsOptions, index: number): Mlp {
  const { module, names, shape } = options;
  const { hiddenSize, intermediateSize: inner } = shape;
  const tensors = stackedNames(options);
  const slice = (part: string, tensor: string, rows: number, columns: number, place: [number, number]) => {
    const [perExpert, offset] = place;
    return {
      ...linear(`${module}.experts.${index}.${part}`, rows, columns),
      source: {
        tensor,
        shape: [options.count, perExpert, columns],
        firstRow: index * perExpert + offset,
      },
    } satisfies Linear;
  };
  const both = 2 * inner;
  const gate = slice(names.gate ?? "gate_proj", tensors.gateUp, inner, hiddenSize, [both, 0]);
  const up = slice(names.up, tensors.gateUp, inner, hiddenSize, [both, inner]);
  const down = slice(names.down, tensors.down, hiddenSize, inner, [hiddenSize, 0]);
  return mlpWith({ kind: "gated", gate, up }, down, shape);
}

/** Names of the Linears of most families' experts. */
export const EXPERT_NAMES = { gate: "gate_proj", up: "up_proj", down: "down_proj" } as const;

/** Fields of routers after DeepSeek-V3's: sigmoids, groups, a correction and a factor; `defaults` are those of the configuration class. */
export function groupedRouterFields(defaults: {
  readonly experts: number;
  readonly shared: number | null;
  readonly topK: number | null;
  readonly groups: number | null;
  readonly keptGroups: number | null;
  readonly normalizeTopK: boolean;
  readonly scale: number;
}) {
  const groupCount = v.nullable(v.pipe(expertCount, v.minValue(1)));
  return {
    n_routed_experts: v.optional(expertCount, defaults.experts),
    n_shared_experts: v.optional(v.nullable(expertCount), defaults.shared),
    num_experts_per_tok: v.optional(v.nullable(expertCount), defaults.topK),
    n_group: v.optional(groupCount, defaults.groups),
    topk_group: v.optional(groupCount, defaults.keptGroups),
    norm_topk_prob: v.optional(flag, defaults.normalizeTopK),
    routed_scaling_factor: v.optional(v.nullable(finite), defaults.scale),
  };
}

export type GroupedRouter = v.InferOutput<v.ObjectSchema<ReturnType<typeof groupedRouterFields>, undefined>>;

/**
 * What such a router chooses by.
 * @throws MalformedModelError if experts do not divide into the groups, or more groups are kept than there are.
 */
export function groupsOf(
  { n_routed_experts: all, n_group: groups, topk_group: kept }: GroupedRouter,
  by: "best" | "best-two",
): Routing["groups"] {
  if (!groups || groups === 1) return null;
  if (all % groups !== 0 || !kept || kept > groups || groups > 32) {
    throw new MalformedModelError(
      `config.json: ${all} experts in ${groups} groups ("n_group"), of which ${kept} are kept ("topk_group"), cannot be.`,
    );
  }
  return { count: groups, kept, by };
}

/** A router with sigmoids, as DeepSeek-V3 has it, with its experts and shared ones under the usual names. */
export function sigmoidExperts(
  tensors: DecoderTensors,
  module: string,
  router: GroupedRouter,
  shape: MlpShape,
): Experts {
  const shared = router.n_shared_experts ?? 0;
  const sharedShape = { ...shape, intermediateSize: shape.intermediateSize * shared };
  return experts(tensors, {
    module,
    names: EXPERT_NAMES,
    count: router.n_routed_experts,
    topK: router.num_experts_per_tok ?? 0,
    normalizeTopK: router.norm_topk_prob,
    scoring: "sigmoid",
    correction: `${module}.gate.e_score_correction_bias`,
    groups: groupsOf(router, "best-two"),
    scale: router.routed_scaling_factor ?? 1,
    shape,
    shared: shared > 0 ? { mlp: gatedMlp(`${module}.shared_experts`, sharedShape), gate: null } : null,
  });
}
