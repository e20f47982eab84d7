import { referenceRotary } from "../../rotary/reference.ts";
import type { HeadColumns } from "../attention/attend.ts";
import { referenceAttention } from "../attention/reference.ts";
import { beside, columnsOf } from "../reference-columns.ts";
import type { MixerSteps, ReferenceMixer } from "../reference-mixer.ts";
import type { LatentAttention } from "../../../../model/mixer-description.ts";

/** Latent attention from the block's input to the output Linear's, in float64. */
export function referenceLatentAttentionMixer(
  mixer: LatentAttention,
  x: Float64Array,
  steps: MixerSteps,
): ReferenceMixer {
  const { heads, headDim, rotaryDim, valueDim, rank, query, rotary, scale } = mixer;
  const ownDim = headDim - rotaryDim;
  const queries =
    query.kind === "direct"
      ? steps.apply(query.linear, x)
      : steps.apply(query.up, steps.norm(query.norm, steps.apply(query.down, x)));
  const down = steps.apply(mixer.keyValueDown, x);
  const latent = steps.norm(mixer.keyValueNorm, columnsOf(down, rank + rotaryDim, 0, rank));
  const up = steps.apply(mixer.keyValueUp, latent);
  const shared = columnsOf(down, rank + rotaryDim, rank, rotaryDim);
  const rotatedQueries = referenceRotary(rotary, { heads, headDim, first: ownDim }, queries, steps.lengths);
  const rotatedKeys = referenceRotary(
    rotary,
    { heads: 1, headDim: rotaryDim, first: 0 },
    shared,
    steps.lengths,
  );
  const keyStride = ownDim + valueDim;
  const columns = latentKeys(mixer);
  const qkv = beside([
    [rotatedQueries, heads * headDim],
    [up, heads * keyStride],
    [rotatedKeys, rotaryDim],
  ]);
  const attending = {
    heads,
    kvHeads: heads,
    headDim,
    valueDim,
    scale,
    softCap: null,
    slidingWindow: null,
    chunk: null,
    temperature: null,
    valueScale: 1,
  };
  return { values: referenceAttention(attending, qkv, steps.lengths, columns), cache: null };
}

/** Queries, then keys and values of each head, then the part of the keys that heads share. */
function latentKeys({ heads, headDim, rotaryDim, valueDim }: LatentAttention): HeadColumns {
  const ownDim = headDim - rotaryDim;
  const keyStride = ownDim + valueDim;
  return {
    keys: heads * headDim,
    keyStride,
    ownDim,
    sharedKeys: heads * (headDim + keyStride),
    values: heads * headDim + ownDim,
    valueStride: keyStride,
    output: 0,
    stride: heads * (headDim + keyStride) + rotaryDim,
  };
}
