// How a model is quantized already, for people: its modules by scheme, with what they cost, and what was kept as it is.

import { DTYPE_BITS } from "../../formats/numbers/dtype.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { schemeName } from "../../formats/schemes/scheme-name.ts";
import type { DequantizedTensors } from "./dequantized-tensors.ts";
import type { LinearClasses } from "../../model/linear-classes.ts";
import { bitsPerWeight, checkpointStorage, keptTensors, moduleStorage } from "./bits-per-weight.ts";
import type { QuantizationSummary, TensorGroup } from "../../api/quantization-summary.ts";
import type { SourceTensor } from "./read-headers.ts";
import { elements } from "./summarize-model.ts";
import type { DequantizedModule } from "./dequantized-module.ts";

export interface QuantizedCheckpoint {
  /** `quant_method` of config.json. */
  readonly method: string;
  readonly stored: readonly SourceTensor[];
  /** The plain weights that they mean. */
  readonly seen: Pick<DequantizedTensors, "modules" | "tensors" | "dtype">;
  readonly kvCache: QuantizationArgs | null;
  readonly classes: LinearClasses;
}

/** Sums up a quantized model from its headers. */
export function summarizeQuantization(checkpoint: QuantizedCheckpoint): QuantizationSummary {
  const { method, stored, seen, kvCache, classes } = checkpoint;
  const { dtype } = seen;
  const quantized = groupByName([...seen.modules.values()].map(moduleOf));
  const kept = groupByName(keptTensors(stored, seen).map(keptOf));
  const sum = (groups: readonly TensorGroup[], of: "bytes" | "weights") =>
    groups.reduce((total, group) => total + group[of], 0);
  return {
    method,
    schemes: bySize(quantized),
    modules: quantized,
    kept,
    bitsPerWeight: bitsPerWeight(checkpointStorage(stored, seen, classes)),
    totalBitsPerWeight: bitsPerWeight({
      bytes: stored.reduce((total, { start, end }) => total + end - start, 0),
      weights: sum(quantized, "weights") + sum(kept, "weights"),
    }),
    kvCache: kvCache && cacheText(kvCache),
    dequantizedBytes: sum(kept, "bytes") + (sum(quantized, "weights") * DTYPE_BITS[dtype]) / 8,
    dequantizedDtype: dtype,
  };
}

type Member = Omit<TensorGroup, "count">;

function moduleOf(module: DequantizedModule): Member {
  const { found, weight } = module;
  const parts = [strategyText(weight.args), found.format];
  if (found.parts.has("weight_g_idx")) parts.splice(1, 0, "columns by activation");
  return {
    name: found.module,
    scheme: schemeName(found.scheme),
    detail: parts.join(", "),
    ...moduleStorage(module),
  };
}

function keptOf(tensor: SourceTensor): Member {
  const { name, dtype, start, end } = tensor;
  return { name, scheme: dtype, detail: "", weights: elements(tensor), bytes: end - start };
}

function strategyText({ strategy, group_size, block_structure }: QuantizationArgs): string {
  if (block_structure) return `blocks of ${block_structure.join(" × ")}`;
  if (group_size !== null) return `group ${group_size}`;
  return strategy === "tensor" ? "one scale" : `a scale per ${strategy}`;
}

function cacheText({ num_bits, type, strategy }: QuantizationArgs): string {
  const what = `${type === "int" ? "INT" : "FP"}${num_bits}`;
  return strategy === "attn_head"
    ? `${what}, a scale per head`
    : `${what}, one scale for keys and one for values`;
}

/** Members of one pattern and scheme together, in the order of the first of each. */
function groupByName(members: readonly Member[]): TensorGroup[] {
  const groups = new Map<string, Member[]>();
  const patterns = new Map<string, number>();
  for (const member of members) {
    const pattern = patternOf(member.name);
    const key = [pattern, member.scheme, member.detail].join("\n");
    const group = groups.get(key);
    if (group) group.push(member);
    else groups.set(key, [member]);
    patterns.set(pattern, (patterns.get(pattern) ?? 0) + 1);
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (!first) return [];
    const { scheme, detail } = first;
    const total = (of: "weights" | "bytes") => group.reduce((sum, member) => sum + member[of], 0);
    const isWhole = patterns.get(patternOf(first.name)) === group.length;
    const name = isWhole ? nameOfAll(group) : nameOfSome(group);
    return [{ name, count: group.length, scheme, detail, weights: total("weights"), bytes: total("bytes") }];
  });
}

function patternOf(name: string): string {
  return name.replace(/(?<=\.)\d+(?=\.|$)/g, "*");
}

function nameOfAll(group: readonly Member[]): string {
  const [first] = group;
  if (!first) return "";
  return group.length === 1 ? first.name : patternOf(first.name);
}

/** Where only some layers have this scheme, their numbers, consecutive ones as a range. */
function nameOfSome(group: readonly Member[]): string {
  const numbers = group
    .map(({ name }) => Number(/\.(\d+)(?=\.|$)/.exec(name)?.[1]))
    .filter((number) => !Number.isNaN(number));
  const all = nameOfAll(group);
  if (group.length === 1 || numbers.length !== group.length) return all;
  const sorted = [...new Set(numbers)].toSorted((a, b) => a - b);
  const ranges: [number, number][] = [];
  for (const number of sorted) {
    const last = ranges.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else ranges.push([number, number]);
  }
  const text = ranges.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(",");
  return all.replace("*", ranges.length === 1 && sorted.length === 1 ? text : `{${text}}`);
}

function bySize(groups: readonly TensorGroup[]): string[] {
  const weights = new Map<string, number>();
  for (const group of groups) weights.set(group.scheme, (weights.get(group.scheme) ?? 0) + group.weights);
  return [...weights].toSorted(([, a], [, b]) => b - a).map(([scheme]) => scheme);
}
