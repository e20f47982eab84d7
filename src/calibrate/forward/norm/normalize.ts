import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { sharingLanes } from "../../../gpu/sharing-lanes.ts";
import { struct } from "../../../gpu/struct.ts";
import type { Matrix } from "../../../gpu/matmul/matmul.ts";
import code from "./norm.wgsl?raw";
import type { Norm } from "../../../model/weight-description.ts";

/** Heads are short: a wider workgroup would idle. */
const NARROW = { workgroup: 64, upTo: 256 } as const;
const WIDE_WORKGROUP = 256;

export const normKernel = kernel({
  name: "forward.norm",
  code: [code],
  params: struct({
    groups: "u32",
    size: "u32",
    weight_size: "u32",
    x_stride: "u32",
    x_offset: "u32",
    y_stride: "u32",
    y_offset: "u32",
    first: "u32",
    end: "u32",
    eps: "f32",
    weight_offset: "f32",
    scale: "f32",
  }),
  bindings: { x: "read", weight: "read", bias: "read", y: "read_write" },
  constants: ["WORKGROUP", "CENTERED", "BIASED", "WEIGHTED", "IN_PLACE", "ACCUMULATE"],
});

export interface NormalizeOptions {
  readonly norm: Norm;
  /** The norm's vectors: `bias` only where it has one, any other buffer than y where it has no weight. */
  readonly weight: BufferPart;
  readonly bias: BufferPart | null;
  /** (rows, columns); columns a multiple of the norm's size. */
  readonly rows: number;
  readonly columns: number;
  /** Null norms y in place. */
  readonly x: Matrix | null;
  readonly y: Matrix;
  /** Adds `scale` times the result to y instead of replacing it. */
  readonly accumulate?: { readonly scale: number };
}

/** y = norm(x), or y += scale · norm(x). */
export async function normalize(gpu: Gpu, options: NormalizeOptions): Promise<void> {
  const { norm, weight, bias, rows, columns, x, y, accumulate } = options;
  const groups = columns / norm.size;
  const work = norm.size * 4;
  for (const { first, end } of gpu.queue.split(normKernel, rows * groups, work)) {
    await gpu.queue.run(normKernel, {
      params: {
        groups,
        size: norm.size,
        weight_size: norm.weightSize,
        x_stride: x?.stride ?? 0,
        x_offset: x?.offset ?? 0,
        y_stride: y.stride,
        y_offset: y.offset ?? 0,
        first,
        end,
        eps: norm.eps,
        weight_offset: norm.weightOffset,
        scale: accumulate?.scale ?? 1,
      },
      // A binding that is not read still needs a buffer; the weight is read-only like it.
      buffers: { x: x?.buffer ?? weight, weight, bias: bias ?? weight, y: y.buffer },
      constants: {
        WORKGROUP: sharingLanes(gpu, norm.size <= NARROW.upTo ? NARROW.workgroup : WIDE_WORKGROUP),
        CENTERED: Number(norm.kind === "layer"),
        BIASED: Number(bias !== null),
        WEIGHTED: Number(norm.weight !== null),
        IN_PLACE: Number(x === null),
        ACCUMULATE: Number(accumulate !== undefined),
      },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * work,
    });
  }
}
