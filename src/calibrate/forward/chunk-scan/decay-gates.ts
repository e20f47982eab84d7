import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { struct } from "../../../gpu/struct.ts";
import code from "./decay-gates.wgsl?raw";

const WORKGROUP = 64;
const WORK_EACH = 8;
/** The largest float32: a limit that limits nothing. */
const LARGEST = 3.4028234e38;

export const decayGatesKernel = kernel({
  name: "forward.decay-gates",
  code: [code],
  params: struct({
    heads: "u32",
    stride: "u32",
    per_group: "u32",
    group_stride: "u32",
    time_steps: "u32",
    betas: "u32",
    gates: "u32",
    first: "u32",
    end: "u32",
    least: "f32",
    largest: "f32",
  }),
  bindings: { decay: "read", bias: "read", x: "read_write" },
  constants: ["DELTA"],
});

export interface DecayGatesOptions {
  /** (tokens, stride) float32. */
  readonly x: BufferPart;
  readonly tokens: number;
  readonly stride: number;
  readonly heads: number;
  /** Columns of the time steps, one a head. */
  readonly timeSteps: number;
  /** Columns of what the sigmoid of is written with (gated delta rule), or null: with the time step (Mamba-2). */
  readonly betas: number | null;
  /** Heads lie in runs of `perGroup`, `stride` columns apart; by default all in one. */
  readonly groups?: { readonly perGroup: number; readonly stride: number };
  /** Columns that are written: heads logarithms, then heads factors. */
  readonly gates: number;
  /** log(−A) and the time step's bias, one a head. */
  readonly decay: BufferPart;
  readonly bias: BufferPart;
  /** Time steps are kept within these. */
  readonly limits?: { readonly least: number; readonly largest: number };
}

/**
 * Logarithms of decays, −e^decay · softplus(time step + bias), and factors of what is written: see chunk-scan.wgsl.
 */
export async function decayGates(gpu: Gpu, options: DecayGatesOptions): Promise<void> {
  const { x, tokens, stride, heads, timeSteps, betas, groups, gates, decay, bias, limits } = options;
  for (const { first, end } of gpu.queue.split(decayGatesKernel, tokens * heads, WORK_EACH, WORKGROUP)) {
    await gpu.queue.run(decayGatesKernel, {
      params: {
        heads,
        stride,
        per_group: groups?.perGroup ?? heads,
        group_stride: groups?.stride ?? 0,
        time_steps: timeSteps,
        betas: betas ?? 0,
        gates,
        first,
        end,
        least: limits?.least ?? 0,
        largest: Math.min(limits?.largest ?? LARGEST, LARGEST),
      },
      buffers: { decay, bias, x },
      constants: { DELTA: Number(betas !== null) },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * WORK_EACH,
    });
  }
}
