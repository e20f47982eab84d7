import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { struct } from "../../../gpu/struct.ts";
import type { TokenBatch } from "../token-batch.ts";
import type { RotaryTable } from "./rotary-table.ts";
import code from "./rotary.wgsl?raw";
import type { Rotary } from "../../../model/mixer-description.ts";

const WORKGROUP = 64;

export const rotaryKernel = kernel({
  name: "forward.rotary",
  code: [code],
  params: struct({
    stride: "u32",
    column: "u32",
    heads: "u32",
    head_dim: "u32",
    pairs: "u32",
    beyond: "u32",
    long_row: "u32",
    first: "u32",
    end: "u32",
  }),
  bindings: { tokens: "read", angles: "read", qkv: "read_write" },
  constants: ["INTERLEAVED"],
});

/** Heads whose first dims are rotated. */
export interface RotatedHeads {
  /** (tokens, stride) float32. */
  readonly buffer: BufferPart;
  readonly stride: number;
  /** First column of the first head's rotated dims. */
  readonly column: number;
  readonly heads: number;
  /** Columns from head to head. */
  readonly headStride: number;
}

/** Rotates a run of heads by each token's position in its sequence. */
export async function rotate(
  gpu: Gpu,
  rotary: Rotary,
  { buffer, stride, column, heads, headStride }: RotatedHeads,
  batch: TokenBatch,
  table: RotaryTable,
): Promise<void> {
  const pairs = rotary.dims / 2;
  for (const { first, end } of gpu.queue.split(rotaryKernel, batch.tokens * heads * pairs, 2, WORKGROUP)) {
    await gpu.queue.run(rotaryKernel, {
      params: {
        stride,
        column,
        heads,
        head_dim: headStride,
        pairs,
        beyond: table.beyond,
        long_row: table.longRow,
        first,
        end,
      },
      buffers: { tokens: batch.positions, angles: table.buffer, qkv: buffer },
      constants: { INTERLEAVED: Number(rotary.interleaved) },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * 2,
    });
  }
}
