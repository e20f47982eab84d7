import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { struct } from "../../../gpu/struct.ts";
import code from "./token-predictions.wgsl?raw";

/** What is told of each token, in order; of one model alone, the first three count. */
export const PREDICTION_COLUMNS = [
  "largest",
  "sum",
  "target",
  "otherLargest",
  "otherSum",
  "otherTarget",
  "difference",
  "ownAtOtherBest",
] as const;

export const tokenPredictionsKernel = kernel({
  name: "forward.token-predictions",
  code: [code],
  params: struct({
    columns: "u32",
    stride: "u32",
    first_row: "u32",
    end_row: "u32",
    first_token: "u32",
    first_id: "u32",
  }),
  bindings: { own: "read", other: "read", targets: "read", found: "read_write" },
  constants: ["COMPARED"],
});

/** Logits (rows, stride) float32 of some tokens by one model or two, for ids from `firstId` on. */
export interface LogitsRun {
  readonly own: BufferPart;
  readonly other: BufferPart | null;
  readonly rows: number;
  readonly columns: number;
  readonly stride: number;
  /** Place of the first row's token among all. */
  readonly firstToken: number;
  readonly firstId: number;
}

/**
 * found[token] = `PREDICTION_COLUMNS` of these ids. The target's logit is of no use where its id is not among them.
 * @param targets the id that comes after each token, u32
 */
export async function tokenPredictions(
  gpu: Gpu,
  run: LogitsRun,
  targets: BufferPart,
  found: BufferPart,
): Promise<void> {
  const { own, other, rows, columns, stride, firstToken, firstId } = run;
  for (const { first, end } of gpu.queue.split(tokenPredictionsKernel, rows, columns)) {
    await gpu.queue.run(tokenPredictionsKernel, {
      params: {
        columns,
        stride,
        first_row: first,
        end_row: end,
        first_token: firstToken,
        first_id: firstId,
      },
      buffers: { own, other: other ?? own, targets, found },
      constants: { COMPARED: Number(other !== null) },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * columns,
    });
  }
}
