import { scanColumns, type ScanColumns, type ScanShape } from "../../chunk-scan/scan-layout.ts";
import type { GatedDeltaNet } from "../../../../model/mixer-description.ts";

/** Where the parts of a token lie in its row; all are multiples of 4. */
export interface DeltaColumns extends ScanColumns {
  /** heads · valueDim */
  readonly gate: number;
  readonly betas: number;
  readonly timeSteps: number;
  readonly stride: number;
}

export function deltaShape({ heads, keyHeads, keyDim, valueDim }: GatedDeltaNet): ScanShape {
  return { heads, keyHeads, keyDim, valueDim, delta: true };
}

export function deltaColumns(mixer: GatedDeltaNet): DeltaColumns {
  const { heads, keyHeads, keyDim, valueDim, inputs } = mixer;
  const queries = heads * valueDim;
  const keys = queries + keyHeads * keyDim;
  const values = keys + keyHeads * keyDim;
  const betas = values + heads * valueDim;
  const perPart = Math.ceil(heads / 4) * 4;
  // One Linear gives a key head's betas and time steps side by side, two give them in runs.
  const timeSteps = betas + (inputs.kind === "grouped" ? heads / keyHeads : perPart);
  const { end, ...scan } = scanColumns(deltaShape(mixer), betas + 2 * perPart);
  return { gate: 0, queries, keys, values, betas, timeSteps, ...scan, stride: end };
}
