// Experts as gpt-oss stores them: MXFP4 in blocks of 32 along the inputs, all experts of a layer in one tensor, outputs
// before inputs. Plain, transformers holds them with inputs before outputs (`integrations/mxfp4.py`).

import { MalformedModelError } from "../../errors.ts";
import { DTYPE_BITS, type FloatDtype } from "../../formats/numbers/dtype.ts";
import { PRESETS } from "../../formats/schemes/presets.ts";
import { tensorBytes } from "../../formats/safetensors/safetensors.ts";
import type { SourceTensor } from "./read-headers.ts";
import { checkLinears, type TransposedWeight } from "./split-experts.ts";
import type { DequantizedModule } from "./dequantized-module.ts";

const BLOCKS = /^(.*\.experts)\.(gate_up_proj|down_proj)_blocks$/;
const SCALES = /\.experts\.(gate_up_proj|down_proj)_scales$/;
const GROUP = 32;
const BLOCK_BYTES = GROUP / 2;
/** Files of the tensors of all experts: "stacked:model.layers.0.mlp.experts.down_proj". */
const PREFIX = "stacked:";

export interface Mxfp4Experts {
  /** All tensors, with plain ones, (experts, inputs, outputs), in place of blocks and scales. */
  readonly tensors: readonly SourceTensor[];
  /** Each expert's matrix, (outputs, inputs), by the virtual file that `dequantizedFile` names. */
  readonly modules: ReadonlyMap<string, DequantizedModule>;
  /** What the plain tensors are made of. */
  readonly transposed: ReadonlyMap<string, readonly TransposedWeight[]>;
}

/**
 * Sees MXFP4 experts as plain weights of `dtype`.
 * @param dequantizedFile virtual file of a module's dequantized weight
 * @throws MalformedModelError if blocks and scales do not belong together.
 */
export function mxfp4Experts(
  stored: readonly SourceTensor[],
  dtype: FloatDtype,
  dequantizedFile: (module: string) => string,
): Mxfp4Experts {
  const byName = new Map(stored.map((tensor) => [tensor.name, tensor]));
  const modules = new Map<string, DequantizedModule>();
  const transposed = new Map<string, readonly TransposedWeight[]>();
  let linears = 0;
  const tensors = stored.flatMap((tensor): SourceTensor[] => {
    if (SCALES.test(tensor.name)) return [];
    const [, prefix = "", kind] = BLOCKS.exec(tensor.name) ?? [];
    if (!kind) return [tensor];
    linears += tensor.shape[0] ?? 0;
    checkLinears(tensor, linears);
    const experts = expertModules(tensor, byName.get(`${prefix}.${kind}_scales`), `${prefix}.`, kind, dtype);
    const weights = experts.map((expert) => {
      const file = dequantizedFile(expert.found.module);
      modules.set(file, expert);
      return turned(expert, file);
    });
    const name = `${prefix}.${kind}`;
    const file = `${PREFIX}${name}`;
    transposed.set(file, weights);
    const [, outputs = 0, groups = 0] = tensor.shape;
    const shape = [weights.length, groups * GROUP, outputs];
    return [{ name, dtype, shape, start: 0, end: tensorBytes({ name, dtype, shape }), file }];
  });
  return { tensors, modules, transposed };
}

function expertModules(
  blocks: SourceTensor,
  scales: SourceTensor | undefined,
  prefix: string,
  kind: string,
  dtype: FloatDtype,
): DequantizedModule[] {
  const [experts = 0, rows = 0, groups = 0, blockBytes] = blocks.shape;
  const fits = blocks.dtype === "U8" && blocks.shape.length === 4 && blockBytes === BLOCK_BYTES;
  const scaled = scales?.dtype === "U8" && scales.shape.join() === [experts, rows, groups].join();
  if (!fits || !scaled || experts * rows * groups === 0) {
    throw new MalformedModelError(
      `${blocks.name} is ${blocks.dtype} [${blocks.shape.join(", ")}], and its scales are ${scales ? `${scales.dtype} [${scales.shape.join(", ")}]` : "missing"}: MXFP4 experts are U8 [experts, outputs, blocks, ${BLOCK_BYTES}] with a scale for each block.`,
    );
  }
  const { scheme } = PRESETS.MXFP4A16;
  const args = scheme.weights;
  const format = "mxfp4-pack-quantized" as const;
  return Array.from({ length: experts }, (_, expert) => {
    const module = `${prefix}${expert}.${kind}`;
    const parts = new Map([
      ["weight_packed", part(blocks, expert, [rows, groups * BLOCK_BYTES], `${module}.weight_packed`)],
      ["weight_scale", part(scales, expert, [rows, groups], `${module}.weight_scale`)],
    ]);
    return {
      weight: { args, format, dtype, rows, columns: groups * GROUP },
      dtype,
      found: { module, scheme, args, format, parts },
    };
  });
}

function part(tensor: SourceTensor, expert: number, shape: readonly number[], name: string): SourceTensor {
  const bytes = (tensor.end - tensor.start) / (tensor.shape[0] ?? 1);
  const start = tensor.start + expert * bytes;
  return { name, dtype: tensor.dtype, shape, start, end: start + bytes, file: tensor.file };
}

function turned({ weight, dtype }: DequantizedModule, file: string): TransposedWeight {
  const { rows: width, columns: inputs } = weight;
  const bytesEach = DTYPE_BITS[dtype] / 8;
  return {
    file,
    start: 0,
    end: width * inputs * bytesEach,
    bytesEach,
    width: inputs,
    firstColumn: 0,
    rows: inputs,
    columns: width,
  };
}
