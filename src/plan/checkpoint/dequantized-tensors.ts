// Checkpoints that are quantized already (compressed-tensors in any of its formats, DeepSeek's FP8 in blocks): seen as the
// plain weights that they mean, so that these can be written, or quantized anew.

import { MalformedModelError, UnsupportedModelError } from "../../errors.ts";
import { codeStorage, hasGlobalScale, isGrouped } from "../../formats/schemes/compression-format.ts";
import {
  codesTensor,
  type QuantizedWeight,
  rowRanges,
  storedColumns,
} from "../../formats/weights/dequantize.ts";
import { DTYPE_BITS, type FloatDtype, isFloatDtype } from "../../formats/numbers/dtype.ts";
import { weightArgs } from "../../formats/schemes/quantization-args.ts";
import { quantizationField } from "../../formats/schemes/quantization-field.ts";
import { mxfp4Experts } from "./mxfp4-experts.ts";
import { findQuantizedModules, type FoundModules, type QuantizedModule } from "./quantized-modules.ts";
import { readQuantization } from "./read-quantization.ts";
import type { SourceTensor } from "./read-headers.ts";
import type { TransposedWeight } from "./split-experts.ts";
import type { DequantizedModule } from "./dequantized-module.ts";

/** Files of tensors that no file holds: "dequantized:model.layers.0.mlp.up_proj". */
const PREFIX = "dequantized:";
const DEEPSEEK_BLOCK = [128, 128] as const;
const SCALE_PARTS =
  /\.(weight_(scale|scale_inv|zero_point|global_scale|shape|packed|g_idx)|(input|output|q|k|v)_(scale|zero_point|global_scale)|activation_scale)$/;

export interface DequantizedTensors {
  readonly tensors: readonly SourceTensor[];
  /** What each virtual file is made of. */
  readonly modules: ReadonlyMap<string, DequantizedModule>;
  /** Dtype of weights that are dequantized: what config.json says of the model, BF16 if nothing. */
  readonly dtype: FloatDtype;
  /** Plain tensors that are made of several of them, turned over (gpt-oss). */
  readonly transposed: ReadonlyMap<string, readonly TransposedWeight[]>;
  /** What config.json and the tensors do not agree on, each a sentence. */
  readonly disagreements: readonly string[];
}

/** A model as it is stored. */
export interface StoredTensors {
  readonly label: string;
  readonly tensors: readonly SourceTensor[];
  readonly config: Readonly<Record<string, unknown>>;
  /** `quant_method` of config.json. */
  readonly method: string;
  /** Reads a tensor of a few bytes. */
  readonly read: (tensor: SourceTensor) => Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * The tensors of a quantized checkpoint as plain weights.
 * @throws UnsupportedModelError if it is quantized by a method that is not known here, MalformedModelError if a module's
 * tensors do not belong together.
 */
export async function dequantizedTensors(stored: StoredTensors): Promise<DequantizedTensors> {
  const dtype = modelDtype(stored.config);
  if (stored.method === "mxfp4") {
    const experts = mxfp4Experts(stored.tensors, dtype, (module) => `${PREFIX}${module}`);
    return { ...experts, dtype, disagreements: [] };
  }
  const { modules: found, disagreements } = findModules(stored);
  const columnsOf = packedColumns(stored.read);
  const modules = new Map<string, DequantizedModule>();
  for (const module of found) {
    const weight = await describe(module, dtype, columnsOf);
    modules.set(`${PREFIX}${module.module}`, { weight, dtype, found: module });
  }
  const codes = new Set(found.map((module) => module.parts.get(codesTensor(module))?.name));
  const plain = stored.tensors.filter(({ name }) => !codes.has(name) && !SCALE_PARTS.test(name));
  const weights = [...modules].map(([file, { weight, found: module }]): SourceTensor => {
    const { rows, columns } = weight;
    const end = (rows * columns * DTYPE_BITS[dtype]) / 8;
    return { name: `${module.module}.weight`, dtype, shape: [rows, columns], start: 0, end, file };
  });
  return { tensors: [...plain, ...weights], modules, dtype, transposed: new Map(), disagreements };
}

function findModules(stored: StoredTensors): FoundModules<SourceTensor> {
  const { label, tensors, config, method } = stored;
  if (method === "fp8") return { modules: blockModules(tensors, config), disagreements: [] };
  const quantization = method === "compressed-tensors" ? readQuantization(config) : null;
  if (!quantization) {
    throw new UnsupportedModelError(
      `${label} is already quantized (quant_method "${method}"), in a way that cannot be read back here; compressed-tensors, FP8 in blocks and gpt-oss's MXFP4 can. Choose the original model.`,
    );
  }
  const found = findQuantizedModules(tensors, quantization);
  const read = new Set(found.modules.map(({ module }) => module));
  const unread = tensors.find(({ name }) => {
    const module = /^(.*)\.weight_scale$/.exec(name)?.[1];
    return module !== undefined && !read.has(module);
  });
  if (unread) {
    throw new MalformedModelError(
      found.disagreements.find((sentence) =>
        sentence.startsWith(unread.name.replace(/\.weight_scale$/, "")),
      ) ?? `${unread.name} is stored, but config.json does not say how to read it.`,
    );
  }
  return found;
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

function blockOf(config: Readonly<Record<string, unknown>>): readonly [number, number] {
  const block = quantizationField(config)?.["weight_block_size"] ?? null;
  if (!Array.isArray(block)) return DEEPSEEK_BLOCK;
  const [rows, columns]: unknown[] = block;
  const isSize = (size: unknown): size is number => Number.isSafeInteger(size) && Number(size) > 0;
  if (isSize(rows) && isSize(columns)) return [rows, columns];
  throw new UnsupportedModelError("config.json: weight_block_size is not two sizes.");
}

const CONFIG_DTYPES: Readonly<Record<string, FloatDtype>> = { float16: "F16", float32: "F32" };

/** The dtype that the model was made in; a text model inside of another may say it in its own part. */
function modelDtype(config: Readonly<Record<string, unknown>>): FloatDtype {
  const text = config["text_config"];
  const inner: Readonly<Record<string, unknown>> = typeof text === "object" && text ? { ...text } : {};
  const named = config["dtype"] ?? config["torch_dtype"] ?? inner["dtype"] ?? inner["torch_dtype"];
  return (typeof named === "string" && Object.hasOwn(CONFIG_DTYPES, named) && CONFIG_DTYPES[named]) || "BF16";
}

type ColumnsOf = (found: QuantizedModule<SourceTensor>, width: number) => Promise<number>;

async function describe(
  found: QuantizedModule<SourceTensor>,
  modelOwn: FloatDtype,
  columnsOf: ColumnsOf,
): Promise<QuantizedWeight> {
  const { args, format, parts } = found;
  const [rows = 0, width = 0] = parts.get(codesTensor(found))?.shape ?? [];
  const scale = parts.get("weight_scale")?.dtype;
  const dtype = scale && isFloatDtype(scale) ? scale : modelOwn;
  const { rowsPadded, storedBits } = codeStorage(args, format);
  const columns = rowsPadded ? await columnsOf(found, width) : (width * 8) / storedBits;
  const weight = { args, format, dtype, rows, columns };
  checkSizes(weight, found);
  return weight;
}

/**
 * Columns of packed weights. Groups tell them; without groups only `weight_shape` does, which is read once for modules that
 * have the same name in other layers and experts and the same packed shape.
 */
function packedColumns(read: StoredTensors["read"]): ColumnsOf {
  const known = new Map<string, number>();
  return async ({ module, args, parts }, width) => {
    const [, cells = 0] = parts.get("weight_scale")?.shape ?? [];
    if (isGrouped(args)) return cells * (args.group_size ?? 0);
    const key = [module.slice(module.lastIndexOf(".") + 1), width, args.num_bits].join();
    const shape = parts.get("weight_shape");
    const found =
      known.get(key) ?? (shape ? storedColumns(await read(shape)) : Math.floor((width * 32) / args.num_bits));
    known.set(key, found);
    return found;
  };
}

/** The tensors must be as long as shape and scheme say, or what is read would be another weight's. */
function checkSizes(weight: QuantizedWeight, { module, args, parts }: QuantizedModule<SourceTensor>): void {
  const { rows, columns } = weight;
  const bytesOf = (name: string) => {
    const tensor = parts.get(name);
    return tensor ? tensor.end - tensor.start : 0;
  };
  const divided = !isGrouped(args) || columns % (args.group_size ?? columns) === 0;
  if (rows > 0 && columns > 0 && Number.isSafeInteger(columns) && divided) {
    const ranges = rowRanges(weight, 0, rows);
    const fits =
      bytesOf(codesTensor(weight)) === ranges.codes.end &&
      bytesOf("weight_scale") === ranges.scales.end &&
      (ranges.zeroPoints === null || bytesOf("weight_zero_point") === ranges.zeroPoints.end) &&
      bytesOf("weight_global_scale") === (hasGlobalScale(args) ? 4 : 0) &&
      [0, 4 * columns, 8 * columns].includes(bytesOf("weight_g_idx"));
    if (fits) return;
  }
  const older =
    32 % args.num_bits === 0
      ? ""
      : " Releases before May 2026 packed this width in another way, which is not read here.";
  throw new MalformedModelError(
    `${module}: its codes, scales and zero points do not have the sizes of a weight [${rows}, ${columns}] with the strategy "${args.strategy}".${older}`,
  );
}
