// What follows the last layer: final norm and head. Calibration needs neither; quality reports and tests do.

import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { struct } from "../../../gpu/struct.ts";
import { type DecoderDescription, rowSize } from "../../../model/decoder-description.ts";
import { applyLinear, applyNorm, type ForwardPass } from "../forward-pass.ts";
import type { Activations } from "../layer-weights.ts";
import code from "./cap-logits.wgsl?raw";

const WORKGROUP = 64;

export const capLogitsKernel = kernel({
  name: "forward.cap-logits",
  code: [code],
  params: struct({ first: "u32", end: "u32", scale: "f32", soft_cap: "f32" }),
  bindings: { y: "read_write" },
});

/** Elements from row to row of a logits buffer. */
export function logitsStride({ vocabSize }: DecoderDescription): number {
  return Math.ceil(vocabSize / 4) * 4;
}

/** normed = the decoder's final norm of `hidden`, (rows, hidden) of (rows, hidden + carried), both without gaps. */
export async function finalNorm(
  pass: Pick<ForwardPass, "gpu" | "weights">,
  description: DecoderDescription,
  hidden: BufferPart,
  normed: BufferPart,
  rows: number,
): Promise<Activations> {
  const { hiddenSize } = description;
  const states = { rows, columns: hiddenSize, stride: hiddenSize };
  const y = { ...states, buffer: normed };
  const x = { ...states, buffer: hidden, stride: rowSize(description) };
  await applyNorm(pass, description.finalNorm, x, y);
  return y;
}

/**
 * Logits of normed hidden states, with the model's scale and soft cap, into `output`: (rows, logitsStride) float32. The
 * head's weight comes in row tiles.
 */
export async function logits(
  pass: Pick<ForwardPass, "gpu" | "weights">,
  { head, ...description }: DecoderDescription,
  normed: Activations,
  output: BufferPart,
): Promise<void> {
  const stride = logitsStride({ head, ...description });
  await applyLinear(pass, head.linear, normed, { buffer: output, stride });
  if (head.scale !== 1 || head.softCap !== null)
    await capLogits(pass.gpu, output, normed.rows * stride, head);
}

/** y = softCap(scale · y) for the first `count` values. */
export async function capLogits(
  gpu: Gpu,
  y: BufferPart,
  count: number,
  { scale, softCap }: Pick<DecoderDescription["head"], "scale" | "softCap">,
): Promise<void> {
  for (const { first, end } of gpu.queue.split(capLogitsKernel, count, 1, WORKGROUP)) {
    await gpu.queue.run(capLogitsKernel, {
      params: { first, end, scale, soft_cap: softCap ?? 0 },
      buffers: { y },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: end - first,
    });
  }
}
