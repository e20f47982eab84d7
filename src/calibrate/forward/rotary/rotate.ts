import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { struct } from "../../../gpu/struct.ts";
import type { Attention, Rotary } from "../../../model/decoder-description.ts";
import { qkvColumns } from "../mixers/attention/attend.ts";
import type { TokenBatch } from "../token-batch.ts";
import type { RotaryTable } from "./rotary-table.ts";
import code from "./rotary.wgsl?raw";

const WORKGROUP = 64;

export const rotaryKernel = kernel({
  name: "forward.rotary",
  code: [code],
  params: struct({
    stride: "u32",
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

/** Rotates the query and key heads in `qkv`, (tokens, qkvColumns), by each token's position in its sequence. */
export async function rotate(
  gpu: Gpu,
  attention: Attention & { readonly rotary: Rotary },
  qkv: BufferPart,
  batch: TokenBatch,
  table: RotaryTable,
): Promise<void> {
  const { rotary, headDim } = attention;
  // Keys follow the queries in a row, so that both are rotated as one run of heads.
  const heads = attention.heads + attention.kvHeads;
  const pairs = rotary.dims / 2;
  for (const { first, end } of gpu.queue.split(rotaryKernel, batch.tokens * heads * pairs, 2, WORKGROUP)) {
    await gpu.queue.run(rotaryKernel, {
      params: {
        stride: qkvColumns(attention),
        heads,
        head_dim: headDim,
        pairs,
        beyond: table.beyond,
        long_row: table.longRow,
        first,
        end,
      },
      buffers: { tokens: batch.positions, angles: table.buffer, qkv },
      constants: { INTERLEAVED: Number(rotary.interleaved) },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * 2,
    });
  }
}
