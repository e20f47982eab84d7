// Experts that a checkpoint holds in one tensor, as the Linears that loaders of quantized models want (LLM Compressor's
// model_free_ptq and its linearized experts). Where an expert's rows lie together, each Linear is a range of the tensor's
// bytes and nothing is copied; where inputs come before outputs (Llama 4, Qwen3-VL), each is read turned over.

import { MalformedModelError } from "../../errors.ts";
import { isFloatDtype } from "../../formats/numbers/dtype.ts";
import type { TensorSpec } from "../../formats/safetensors/safetensors.ts";
import type { SourceTensor } from "./read-headers.ts";

/** Tensors of all experts of a layer: those of most families, and Granite's. */
const STACKED = /(\.experts\.(gate_up_proj|down_proj)|moe\.(input|output)_linear\.weight)$/;
const FUSED = /^(.*\.experts)\.(gate_up_proj|down_proj)$/;
/** Files of tensors that no file holds as they are: "transposed:model.layers.0.mlp.experts.0.up_proj". */
const PREFIX = "transposed:";
/** Three times as many as the largest published models have. */
const MAX_LINEARS = 262_144;

/** Names of an expert's Linears. */
const USUAL = { gateUp: ["gate_proj", "up_proj"], down: ["down_proj"] };
const MIXTRAL = { gateUp: ["w1", "w3"], down: ["w2"] };

/** A Linear of (rows, columns) whose rows are columns of a matrix of (columns, width) that lies in a file. */
export interface TransposedWeight {
  /** Where the matrix lies. */
  readonly file: string;
  readonly start: number;
  readonly end: number;
  readonly bytesEach: number;
  readonly width: number;
  /** The matrix's column that is the first row. */
  readonly firstColumn: number;
  readonly rows: number;
  readonly columns: number;
}

export interface SplitTensors {
  readonly tensors: readonly SourceTensor[];
  /** What each virtual file is made of: matrices turned over, one after the other. */
  readonly transposed: ReadonlyMap<string, readonly TransposedWeight[]>;
}

/** True for a tensor that holds all experts of a layer. */
export function isStacked({ name, shape }: Pick<TensorSpec, "name" | "shape">): boolean {
  return shape.length === 3 && STACKED.test(name);
}

/**
 * Replaces `<experts>.gate_up_proj` (experts, 2 · inner, hidden) and `<experts>.down_proj` (experts, hidden, inner), or both
 * with their last two dimensions exchanged, by `<experts>.<i>.gate_proj.weight`, `.up_proj.weight` and `.down_proj.weight`.
 * What has another layout stays as it is, and so do experts with biases, whose gates and ups alternate (gpt-oss).
 */
export function splitExperts(tensors: readonly SourceTensor[]): SplitTensors {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const transposed = new Map<string, readonly TransposedWeight[]>();
  let linears = 0;
  const split = tensors.flatMap((tensor) => {
    const [, prefix = "", kind] = FUSED.exec(tensor.name) ?? [];
    const gateUp = byName.get(`${prefix}.gate_up_proj`);
    const down = byName.get(`${prefix}.down_proj`);
    if (!kind || !gateUp || !down || byName.has(`${prefix}.gate_up_proj_bias`)) return [tensor];
    const names = prefix.endsWith("block_sparse_moe.experts") ? MIXTRAL : USUAL;
    const parts = names[kind === "down_proj" ? "down" : "gateUp"];
    linears += (tensor.shape[0] ?? 0) * parts.length;
    checkLinears(tensor, linears);
    if (belongTogether(gateUp, down)) return expertParts(tensor, prefix, parts);
    if (!belongTogether(turned(gateUp), turned(down)) || !isFloatDtype(tensor.dtype)) return [tensor];
    return transposedParts(tensor, prefix, parts).map(({ weight, ...part }) => {
      transposed.set(part.file, [weight]);
      return part;
    });
  });
  return { tensors: split, transposed };
}

/** A shape is a few digits; what it is split into is real. @throws MalformedModelError */
export function checkLinears({ name, shape }: SourceTensor, linears: number): void {
  if (linears <= MAX_LINEARS) return;
  throw new MalformedModelError(
    `The tensor "${name}" of ${shape[0]} experts and those before it make more than ${MAX_LINEARS} Linears, which is more than any model has.`,
  );
}

function turned(tensor: SourceTensor): SourceTensor {
  const [experts = 0, rows = 0, columns = 0, ...more] = tensor.shape;
  return { ...tensor, shape: [experts, columns, rows, ...more] };
}

function belongTogether({ shape: gateUp }: SourceTensor, { shape: down }: SourceTensor): boolean {
  const [experts, rows = 0, hidden] = gateUp;
  if (gateUp.length !== 3 || down.length !== 3 || rows === 0) return false;
  const [, downRows = 0, inner = 0] = down;
  return down[0] === experts && downRows === hidden && rows === 2 * inner;
}

function expertParts(tensor: SourceTensor, prefix: string, parts: readonly string[]): SourceTensor[] {
  const [experts = 0, rows = 0, columns = 0] = tensor.shape;
  const partRows = rows / parts.length;
  const bytes = (tensor.end - tensor.start) / experts / parts.length;
  return Array.from({ length: experts }, (_, expert) =>
    parts.map((part, index) => {
      const start = tensor.start + (expert * parts.length + index) * bytes;
      const name = `${prefix}.${expert}.${part}.weight`;
      return { ...tensor, name, shape: [partRows, columns], start, end: start + bytes };
    }),
  ).flat();
}

function transposedParts(
  tensor: SourceTensor,
  prefix: string,
  parts: readonly string[],
): (SourceTensor & { readonly weight: TransposedWeight })[] {
  const [experts = 0, columns = 0, width = 0] = tensor.shape;
  const rows = width / parts.length;
  const matrixBytes = (tensor.end - tensor.start) / experts;
  const bytesEach = matrixBytes / columns / width;
  return Array.from({ length: experts }, (_, expert) =>
    parts.map((part, index) => {
      const module = `${prefix}.${expert}.${part}`;
      const start = tensor.start + expert * matrixBytes;
      const place = { file: tensor.file, start, end: start + matrixBytes };
      const weight = { ...place, bytesEach, width, firstColumn: index * rows, rows, columns };
      const end = rows * columns * bytesEach;
      const file = `${PREFIX}${module}`;
      return {
        name: `${module}.weight`,
        dtype: tensor.dtype,
        shape: [rows, columns],
        start: 0,
        end,
        file,
        weight,
      };
    }),
  ).flat();
}
