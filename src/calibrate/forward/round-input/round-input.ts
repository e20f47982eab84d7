// Activations as a quantized model rounds them while it runs: quantized and dequantized again, in float32.

import type { QuantizationArgs } from "../../../formats/schemes/quantization-args.ts";
import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import numberFormats from "../../../gpu/elements/number-formats.wgsl?raw";
import { struct } from "../../../gpu/struct.ts";
import type { Activations } from "../layer-weights.ts";
import code from "./round-input.wgsl?raw";

export const roundInputKernel = kernel({
  name: "forward.round-input",
  code: [numberFormats, code],
  params: struct({
    first: "u32",
    end: "u32",
    size: "u32",
    runs: "u32",
    x_stride: "u32",
    x_offset: "u32",
    y_stride: "u32",
    half: "f32",
  }),
  bindings: { x: "read", measured: "read", y: "read_write" },
  constants: ["DYNAMIC", "SYMMETRIC", "FLOAT"],
});

/** How a Linear rounds its input. */
export interface InputRounding {
  readonly args: Pick<QuantizationArgs, "num_bits" | "type" | "symmetric" | "strategy" | "group_size">;
  /** The measured scale of all tokens, one float32; null where each token, or group of its values, has its own. */
  readonly scale: BufferPart | null;
}

/**
 * y = x as the Linear sees it, (rows, columns) without gaps: integers of any width, with zero points where scales follow the
 * values, or e4m3.
 */
export async function roundInput(
  gpu: Gpu,
  { args, scale }: InputRounding,
  x: Activations,
  y: BufferPart,
): Promise<Activations> {
  const { rows, columns } = x;
  const size = args.strategy === "group" ? (args.group_size ?? columns) : columns;
  const runs = columns / size;
  const result = { buffer: y, rows, columns, stride: columns };
  for (const { first, end } of gpu.queue.split(roundInputKernel, rows * runs, size)) {
    await gpu.queue.run(roundInputKernel, {
      params: {
        first,
        end,
        size,
        runs,
        x_stride: x.stride,
        x_offset: x.offset ?? 0,
        y_stride: columns,
        half: 2 ** (args.num_bits - 1),
      },
      buffers: { x: x.buffer, measured: scale ?? x.buffer, y },
      constants: {
        DYNAMIC: Number(scale === null),
        SYMMETRIC: Number(args.symmetric),
        FLOAT: Number(args.type === "float"),
      },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * size,
    });
  }
  return result;
}
