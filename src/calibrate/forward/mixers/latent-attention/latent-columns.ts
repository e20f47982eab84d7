import type { HeadColumns } from "../attention/attend.ts";
import type { LatentAttention } from "../../../../model/mixer-description.ts";

/** Where the parts of a token lie in its row, queries first; all are multiples of 4. */
export interface LatentColumns extends HeadColumns {
  /** The latent and, behind it, the shared part of the keys. */
  readonly latent: number;
  /** The low-rank query. */
  readonly lowRank: number;
}

export function latentColumns(mixer: LatentAttention): LatentColumns {
  const { heads, headDim, rotaryDim, valueDim, rank, query } = mixer;
  const ownDim = headDim - rotaryDim;
  const keys = heads * headDim;
  const keyStride = ownDim + valueDim;
  const latent = keys + heads * keyStride;
  const lowRank = latent + rank + rotaryDim;
  const output = lowRank + (query.kind === "low-rank" ? query.down.rows : 0);
  return {
    keys,
    keyStride,
    ownDim,
    sharedKeys: latent + rank,
    values: keys + ownDim,
    valueStride: keyStride,
    latent,
    lowRank,
    output,
    stride: output + heads * valueDim,
  };
}
