// Parsed arguments to QuantizationArgs: the library's defaults and its rules (compressed-tensors `validate_model_after`),
// and what of it can be done here.

import {
  type QuantizationArgs,
  activationArgs,
  usesImportance,
  weightArgs,
} from "../../formats/schemes/quantization-args.ts";
import { showValue } from "../../formats/text/show-value.ts";
import type { ParsedArgs } from "./recipe-schema.ts";

/** Arguments, or the sentence that says why there can be none. */
export type Checked = { readonly args: QuantizationArgs } | { readonly problem: string };

/** Arguments of a weight. */
export function checkWeights(parsed: ParsedArgs): Checked {
  const given = complete(parsed);
  if (typeof given === "string") return { problem: given };
  const args = weightArgs(given);
  const problem = weightProblem(args);
  return problem ? { problem } : { args };
}

/** Arguments of input activations, or of the key-value cache. */
export function checkActivations(parsed: ParsedArgs, of: "inputs" | "cache"): Checked {
  const given = complete(parsed);
  if (typeof given === "string") return { problem: given };
  const args = activationArgs(given);
  const problem = of === "cache" ? cacheProblem(args) : activationProblem(args);
  return problem ? { problem } : { args };
}

/** Fills in the strategy and checks what holds for weights and activations alike; a sentence if it is wrong. */
function complete(parsed: ParsedArgs): Partial<QuantizationArgs> | string {
  const group_size = parsed.group_size === -1 ? null : (parsed.group_size ?? null);
  const strategy = parsed.strategy ?? inferStrategy(parsed.group_size ?? null);
  const block_structure = parsed.block_structure ?? null;
  const grouped = strategy === "group" || strategy === "tensor_group";
  if (grouped && !group_size) return `The strategy "${strategy}" needs a positive group_size.`;
  if (group_size && !grouped)
    return `group_size ${group_size} needs the strategy "group", not "${strategy}".`;
  if ((strategy === "block") !== (block_structure !== null)) {
    return 'The strategy "block" and block_structure belong together.';
  }
  if (parsed.type === "float" && !parsed.symmetric)
    return "Float schemes are symmetric; leave symmetric out.";
  if (parsed.type === "float" && parsed.num_bits !== 4 && parsed.num_bits !== 8) {
    return `Floats have 4 or 8 bits, not ${parsed.num_bits}.`;
  }
  const unused = unusedField(parsed);
  if (unused) return unused;
  const { num_bits, type, symmetric, dynamic } = parsed;
  return {
    num_bits,
    type,
    symmetric,
    dynamic,
    strategy,
    group_size,
    block_structure,
    actorder: parsed.actorder ?? null,
    scale_dtype: parsed.scale_dtype === "torch.int8" ? null : (parsed.scale_dtype ?? null),
    ...(parsed.observer ? { observer: parsed.observer } : {}),
    observer_kwargs: parsed.observer_kwargs ?? {},
  };
}

/** Options that each observer reads; a moving average has one, which is not offered. */
const SEARCH_OPTIONS = ["maxshrink", "grid", "norm", "patience", "expand"];

/** A field that nothing would be done for, in a sentence; null if there is none. */
function unusedField({
  dynamic,
  observer,
  observer_kwargs,
  scale_dtype,
  zp_dtype,
  ...args
}: ParsedArgs): string | null {
  if (dynamic === true && observer) {
    return `Dynamic activations are not observed; leave observer ${observer} out.`;
  }
  const known = observer?.includes("mse") ? SEARCH_OPTIONS : [];
  const option = Object.keys(observer_kwargs ?? {}).find((name) => !known.includes(name));
  if (option !== undefined) {
    const takes = known.length > 0 ? `takes ${known.join(", ")}` : "takes no options here";
    return `The observer ${observer ?? "that is taken by default"} ${takes}; leave ${showValue(option)} out.`;
  }
  if (scale_dtype === "torch.int8") return "Scales are no int8; leave scale_dtype out.";
  if (zp_dtype && (args.symmetric || args.type === "float" || zp_dtype !== "torch.int8")) {
    return "Zero points are int8, and asymmetric integers alone have them; leave zp_dtype out.";
  }
  return null;
}

function inferStrategy(group_size: number | null): QuantizationArgs["strategy"] {
  if (group_size === null) return "tensor";
  return group_size > 0 ? "group" : "channel";
}

function weightProblem(args: QuantizationArgs): string | null {
  const { strategy } = args;
  if (args.dynamic !== false) return "Weights are not dynamic; leave dynamic out.";
  if (strategy === "token" || strategy === "attn_head") {
    return `The strategy "${strategy}" is for activations; weights take tensor, channel, group, block or tensor_group.`;
  }
  const observed = observerProblem(args);
  if (observed) return observed;
  return args.type === "float" ? floatProblem(args) : intProblem(args);
}

/**
 * Why an observer cannot choose the ranges of these weights; null if it can. LLM Compressor falls back to equal columns there,
 * in a line of its log.
 */
export function observerProblem({
  observer,
  strategy,
  observer_kwargs,
}: Pick<QuantizationArgs, "observer" | "strategy" | "observer_kwargs">): string | null {
  if (observer === "hessian_mse" && Object.keys(observer_kwargs).length > 0) {
    return "The observer hessian_mse has no options; leave observer_kwargs out.";
  }
  if (!usesImportance({ observer }) || !(strategy === "tensor" || strategy === "block")) return null;
  return `The observer ${observer} weighs input columns against each other in scales of a channel or a group; with one scale a ${strategy} take memoryless_mse.`;
}

function intProblem({ strategy, scale_dtype }: QuantizationArgs): string | null {
  if (strategy === "tensor_group") return 'The strategy "tensor_group" is for 4-bit floats (NVFP4).';
  return scale_dtype ? `Integer weights have scales in the weight's own dtype, not ${scale_dtype}.` : null;
}

/** NVFP4 and MX are whole formats: bits, group size, strategy and scale dtype belong together. */
function floatProblem({ num_bits, strategy, group_size, scale_dtype }: QuantizationArgs): string | null {
  const isNvfp4 =
    num_bits === 4 &&
    strategy === "tensor_group" &&
    group_size === 16 &&
    scale_dtype === "torch.float8_e4m3fn";
  const isMx = strategy === "group" && group_size === 32 && scale_dtype === "torch.uint8";
  if (isNvfp4 || isMx) return null;
  if (num_bits === 4) {
    return "4-bit floats are NVFP4 (strategy tensor_group, group_size 16, scale_dtype float8_e4m3fn) or MXFP4 (strategy group, group_size 32, scale_dtype uint8); nothing else can be loaded.";
  }
  if (scale_dtype || strategy === "tensor_group") {
    return "8-bit floats have scales in the weight's own dtype, or are MXFP8 (strategy group, group_size 32, scale_dtype uint8).";
  }
  return null;
}

function activationProblem(args: QuantizationArgs): string | null {
  const { strategy, dynamic } = args;
  if (args.actorder) return "Activations have no actorder.";
  if (dynamic !== true && args.observer?.endsWith("mse")) {
    return `Activations are not observed by ${args.observer} here; take static_minmax, or minmax.`;
  }
  if (strategy === "channel" || strategy === "block")
    return `Activations cannot have the strategy "${strategy}".`;
  if (dynamic === "local") {
    return strategy === "tensor_group" ? null : '"local" is only for the strategy "tensor_group" (NVFP4).';
  }
  if (dynamic) {
    return strategy === "attn_head" ? 'The strategy "attn_head" is for the key-value cache.' : null;
  }
  if (strategy === "tensor") return null;
  return `Static activations have one scale (strategy "tensor"); "${strategy}" needs dynamic: true.`;
}

function cacheProblem({ strategy, dynamic, num_bits }: QuantizationArgs): string | null {
  if (dynamic !== false) return "The key-value cache has static scales; leave dynamic out.";
  if (num_bits !== 8) return `The key-value cache takes 8 bits, not ${num_bits}.`;
  return strategy === "tensor" || strategy === "attn_head"
    ? null
    : `The key-value cache has one scale (strategy "tensor") or one a head ("attn_head"), not "${strategy}".`;
}
