import { applyLinear, applyNorm, type ForwardPass } from "../../forward-pass.ts";
import type { Activations } from "../../layer-weights.ts";
import { rotate } from "../../rotary/rotate.ts";
import { attend, checkHeadDim, prepareAttention } from "../attention/attend.ts";
import { type LatentColumns, latentColumns } from "./latent-columns.ts";
import type { MixerForward } from "../mixer-forward.ts";
import type { Linear, Norm } from "../../../../model/weight-description.ts";
import type { LatentAttention } from "../../../../model/mixer-description.ts";

export function latentAttentionForward(mixer: LatentAttention): MixerForward {
  return {
    scratch: { what: "Queries, keys and values", columns: latentColumns(mixer).stride },
    rotary: mixer.rotary,
    normed: widestLatent(mixer),
    check: () => checkHeadDim(mixer),
    prepare: (gpu) =>
      prepareAttention(gpu, { ...mixer, sinks: null, ownDim: mixer.headDim - mixer.rotaryDim }),
    mix: async (pass, input) => await mixLatentAttention(pass, mixer, input),
  };
}

/** Latents are normed into the buffer of the block's input, so that a Linear reads from one buffer and writes to another. */
function widestLatent({ rank, query }: LatentAttention): number {
  return Math.max(rank, query.kind === "low-rank" ? query.down.rows : 0);
}

/** Attention with keys and values of all heads from one latent; the rotated part of the keys is never copied. */
async function mixLatentAttention(
  pass: ForwardPass,
  mixer: LatentAttention,
  input: Activations,
): Promise<Activations> {
  const { gpu, batch, workspace } = pass;
  const { heads, valueDim } = mixer;
  const columns = latentColumns(mixer);
  await project(pass, mixer, columns, input);
  await rotateParts(pass, mixer, columns);
  const attention = { ...mixer, kvHeads: heads, ...PLAIN };
  await attend(gpu, batch, { attention, qkv: workspace.scratch, columns, sinks: null });
  return run(pass, columns, columns.output, heads * valueDim);
}

const PLAIN = { softCap: null, slidingWindow: null, chunk: null, temperature: null, valueScale: 1 } as const;

function run(
  { workspace, batch }: ForwardPass,
  { stride }: LatentColumns,
  offset: number,
  columns: number,
): Activations {
  return { buffer: workspace.scratch, rows: batch.tokens, columns, stride, offset };
}

/** Queries, and the keys and values of all heads. */
async function project(
  pass: ForwardPass,
  mixer: LatentAttention,
  columns: LatentColumns,
  input: Activations,
): Promise<void> {
  const { query, heads, headDim, rotaryDim, rank, keyValueDown, keyValueUp, keyValueNorm } = mixer;
  const queries = run(pass, columns, 0, heads * headDim);
  const lowRank = run(pass, columns, columns.lowRank, query.kind === "low-rank" ? query.down.rows : 0);
  if (query.kind === "direct") await applyLinear(pass, query.linear, input, queries);
  else await applyLinear(pass, query.down, input, lowRank);
  await applyLinear(pass, keyValueDown, input, run(pass, columns, columns.latent, rank + rotaryDim));
  // Nothing asks for the block's input any more.
  if (query.kind === "low-rank") await fromLatent(pass, query.norm, query.up, lowRank, queries);
  const latent = run(pass, columns, columns.latent, rank);
  await fromLatent(pass, keyValueNorm, keyValueUp, latent, run(pass, columns, columns.keys, keyValueUp.rows));
}

/** y = norm(latent) Wᵀ */
async function fromLatent(
  pass: ForwardPass,
  norm: Norm,
  linear: Linear,
  latent: Activations,
  y: Activations,
): Promise<void> {
  const { rows, columns } = latent;
  const normed = { buffer: pass.workspace.normed, rows, columns, stride: columns };
  await applyNorm(pass, norm, latent, normed);
  await pass.hooks?.onInput?.([linear.module], normed);
  await applyLinear(pass, linear, normed, y);
}

/** The last dims of each query, and the part of the keys that heads share. */
async function rotateParts(
  { gpu, batch, workspace }: ForwardPass,
  { rotary, heads, headDim, rotaryDim }: LatentAttention,
  { stride, sharedKeys }: LatentColumns,
): Promise<void> {
  const table = workspace.rotaryTable(rotary);
  const rotated = { buffer: workspace.scratch, stride, headStride: headDim };
  await rotate(gpu, rotary, { ...rotated, column: headDim - rotaryDim, heads }, batch, table);
  await rotate(gpu, rotary, { ...rotated, column: sharedKeys, heads: 1 }, batch, table);
}
