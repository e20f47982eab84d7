// The quantized Linears of a compressed-tensors model, from its headers and config.json, which must agree: a module that
// one of them has wrong is loaded as random numbers, without an error.

import { VerificationError } from "../../errors.ts";
import { compressionFormat } from "../../formats/schemes/compression-format.ts";
import { codesTensor } from "../../formats/weights/dequantize.ts";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import type {
  CompressionFormat,
  QuantizationArgs,
  QuantizationScheme,
} from "../../formats/schemes/quantization-args.ts";
import type { TensorSpec } from "../../formats/safetensors/safetensors.ts";
import { storedTensors } from "../../formats/weights/stored-tensors.ts";
import { linearOf } from "./find-linears.ts";
import type { StoredQuantization } from "./read-quantization.ts";

export interface QuantizedModule<Tensor extends TensorSpec = TensorSpec> {
  readonly module: string;
  readonly scheme: QuantizationScheme;
  readonly args: QuantizationArgs;
  readonly format: CompressionFormat;
  /** The module's tensors by their last name: "weight_packed", "weight_scale", … */
  readonly parts: ReadonlyMap<string, Tensor>;
}

export interface FoundModules<Tensor extends TensorSpec> {
  readonly modules: readonly QuantizedModule<Tensor>[];
  /** Modules of which config.json and the tensors say different things, each a sentence. */
  readonly disagreements: readonly string[];
}

/**
 * Finds all quantized modules.
 * @throws VerificationError if config.json and tensors disagree, naming module and tensor.
 */
export function quantizedModules<Tensor extends TensorSpec>(
  tensors: readonly Tensor[],
  config: StoredQuantization,
): readonly QuantizedModule<Tensor>[] {
  const { modules, disagreements } = findQuantizedModules(tensors, config);
  const [first] = disagreements;
  if (first !== undefined) throw new VerificationError(first);
  return modules;
}

/**
 * Finds the modules that can be read back. One that config.json ignores although its scales are stored is read by the
 * scheme of the model's only group, if there is but one: its name may be another than the one that a loader gives it.
 */
export function findQuantizedModules<Tensor extends TensorSpec>(
  tensors: readonly Tensor[],
  config: StoredQuantization,
): FoundModules<Tensor> {
  const byModule = new Map<string, Map<string, Tensor>>();
  for (const tensor of tensors) {
    const dot = tensor.name.lastIndexOf(".");
    const module = tensor.name.slice(0, dot);
    const parts = byModule.get(module) ?? new Map<string, Tensor>();
    byModule.set(module, parts.set(tensor.name.slice(dot + 1), tensor));
  }
  const disagreements = tensors.flatMap((tensor) => plainProblem(tensor, byModule, config) ?? []);
  const modules: QuantizedModule<Tensor>[] = [];
  for (const [module, parts] of byModule) {
    if (!parts.has("weight_scale")) continue;
    const targeted = config.schemeOf(module);
    const scheme = targeted?.weights ? targeted : config.onlyScheme;
    if (!targeted?.weights) disagreements.push(untargeted(module));
    if (!scheme?.weights) continue;
    const found = { module, scheme, args: scheme.weights, format: compressionFormat(scheme), parts };
    if (parts.has(codesTensor(found))) modules.push(found);
    else disagreements.push(withoutCodes(found));
  }
  return { modules, disagreements };
}

/** A Linear without scales has to be ignored. */
function plainProblem(
  tensor: TensorSpec,
  byModule: ReadonlyMap<string, ReadonlyMap<string, unknown>>,
  config: StoredQuantization,
): string | null {
  const linear = linearOf(tensor);
  if (!linear || byModule.get(linear.name)?.has("weight_scale")) return null;
  if (!config.schemeOf(linear.name)?.weights) return null;
  return `${tensor.name} is not quantized, but config.json targets ${linear.name} and does not ignore it: it would be loaded as random numbers.`;
}

function untargeted(module: string): string {
  return `${module}.weight_scale is stored, but config.json does not target ${module}, or ignores it: it would be loaded wrongly.`;
}

function withoutCodes(found: QuantizedModule): string {
  const { module, format } = found;
  return `${module} is ${format} by config.json, but the files have no ${module}.${codesTensor(found)}.`;
}

/**
 * Checks that a module's tensors have the dtypes and shapes that its scheme gives a weight of this dtype and shape.
 * @throws VerificationError naming the first tensor that has not.
 */
export function checkShapes(
  found: QuantizedModule,
  shape: readonly [number, number],
  dtype: FloatDtype,
): void {
  for (const expected of storedTensors(found.module, found.scheme, dtype, shape)) {
    const stored = found.parts.get(expected.name.slice(found.module.length + 1));
    if (stored?.dtype === expected.dtype && stored.shape.join() === expected.shape.join()) continue;
    const actual = stored ? `${stored.dtype} [${stored.shape.join(", ")}]` : "missing";
    throw new VerificationError(
      `${expected.name} is ${actual}, but config.json and the weight's shape [${shape.join(", ")}] ask for ${expected.dtype} [${expected.shape.join(", ")}].`,
    );
  }
}
