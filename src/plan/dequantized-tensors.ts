// Checkpoints whose weights are stored as 8-bit or 4-bit floats (DeepSeek's FP8 in blocks, compressed-tensors' float
// formats): seen as the bfloat16 weights that they mean, so that a recipe can quantize them anew.

import { UnsupportedModelError } from "../errors.ts";
import { codesTensor, type QuantizedWeight } from "../formats/dequantize.ts";
import { isFloatDtype } from "../formats/dtype.ts";
import { weightArgs } from "../formats/quantization-args.ts";
import { quantizedModules, type QuantizedModule } from "./quantized-modules.ts";
import { readQuantization } from "./read-quantization.ts";
import type { SourceTensor } from "./read-headers.ts";

/** Files of tensors that no file holds: "dequantized:model.layers.0.mlp.up_proj". */
const PREFIX = "dequantized:";
const DEEPSEEK_BLOCK = [128, 128] as const;
const SCALE_PARTS =
  /\.(weight_(scale|scale_inv|zero_point|global_scale|shape|packed|g_idx)|(input|k|v)_(scale|zero_point|global_scale)|activation_scale)$/;

export interface DequantizedModule {
  readonly weight: QuantizedWeight;
  readonly found: QuantizedModule<SourceTensor>;
}

export interface DequantizedTensors {
  readonly tensors: readonly SourceTensor[];
  /** What each virtual file is made of. */
  readonly modules: ReadonlyMap<string, DequantizedModule>;
}

/**
 * The tensors of a quantized checkpoint as bfloat16.
 * @throws UnsupportedModelError if its weights are integers, or quantized by a method that is not known here.
 */
export function dequantizedTensors(
  label: string,
  tensors: readonly SourceTensor[],
  config: Readonly<Record<string, unknown>>,
  method: string,
): DequantizedTensors {
  const found =
    method === "fp8" ? blockModules(tensors, config) : floatModules(label, tensors, config, method);
  const modules = new Map(found.map((module) => [`${PREFIX}${module.module}`, describe(module)]));
  const codes = new Set(found.map((module) => module.parts.get(codesTensor(module))?.name));
  const plain = tensors.filter(({ name }) => !codes.has(name) && !SCALE_PARTS.test(name));
  const weights = [...modules].map(([file, { weight, found: module }]): SourceTensor => {
    const { rows, columns } = weight;
    const name = `${module.module}.weight`;
    return { name, dtype: "BF16", shape: [rows, columns], start: 0, end: rows * columns * 2, file };
  });
  return { tensors: [...plain, ...weights], modules };
}

function blockModules(
  tensors: readonly SourceTensor[],
  config: Readonly<Record<string, unknown>>,
): QuantizedModule<SourceTensor>[] {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const args = weightArgs({ type: "float", strategy: "block", block_structure: blockOf(config) });
  const scheme = { weights: args, input_activations: null };
  return tensors.flatMap((scale) => {
    const module = /^(.*)\.weight_scale_inv$/.exec(scale.name)?.[1];
    const weight = byName.get(`${module}.weight`);
    if (module === undefined || weight?.dtype !== "F8_E4M3" || weight.shape.length !== 2) return [];
    const parts = new Map([
      ["weight", weight],
      ["weight_scale", scale],
    ]);
    return [{ module, scheme, args, format: "naive-quantized", parts }];
  });
}

function blockOf({ quantization_config }: Readonly<Record<string, unknown>>): readonly [number, number] {
  const block: unknown =
    typeof quantization_config === "object" &&
    quantization_config !== null &&
    "weight_block_size" in quantization_config
      ? quantization_config.weight_block_size
      : null;
  if (!Array.isArray(block)) return DEEPSEEK_BLOCK;
  const [rows, columns]: unknown[] = block;
  const isSize = (size: unknown): size is number => Number.isSafeInteger(size) && Number(size) > 0;
  if (isSize(rows) && isSize(columns)) return [rows, columns];
  throw new UnsupportedModelError("config.json: weight_block_size is not two sizes.");
}

function floatModules(
  label: string,
  tensors: readonly SourceTensor[],
  config: Readonly<Record<string, unknown>>,
  method: string,
): QuantizedModule<SourceTensor>[] {
  const quantization = method === "compressed-tensors" ? readQuantization(config) : null;
  const modules = quantization ? quantizedModules(tensors, quantization) : [];
  if (modules.length > 0 && modules.every(({ args }) => args.type === "float")) return modules;
  throw new UnsupportedModelError(
    `${label} is already quantized (quant_method "${method}"). Quantizing it again would add error to error: choose the original model.`,
  );
}

function describe(found: QuantizedModule<SourceTensor>): DequantizedModule {
  const { args, format, parts, module } = found;
  const [rows = 0, width = 0] = parts.get(codesTensor(found))?.shape ?? [];
  const scale = parts.get("weight_scale")?.dtype;
  const dtype = scale && isFloatDtype(scale) ? scale : "BF16";
  const columns = args.num_bits === 4 ? width * 2 : width;
  if (rows > 0 && columns > 0) return { weight: { args, format, dtype, rows, columns }, found };
  throw new UnsupportedModelError(`${module} has no weights that can be dequantized.`);
}
