import { scanColumns, type ScanColumns, type ScanShape } from "../../chunk-scan/scan-layout.ts";
import type { Mamba2 } from "../../../../model/mixer-description.ts";

/** Where the parts of a token lie in its row, the input Linear's rows first; all are multiples of 4. */
export interface MambaColumns extends ScanColumns {
  readonly gate: number;
  readonly timeSteps: number;
  readonly stride: number;
}

/** x is what values are elsewhere, B a key, C a query. */
export function mambaShape({ heads, headDim, groups, stateDim }: Mamba2): ScanShape {
  return { heads, keyHeads: groups, keyDim: stateDim, valueDim: headDim, delta: false };
}

export function mambaColumns(mixer: Mamba2): MambaColumns {
  const { heads, headDim, groups, stateDim } = mixer;
  const values = heads * headDim;
  const keys = 2 * values;
  const queries = keys + groups * stateDim;
  const timeSteps = queries + groups * stateDim;
  const { end, ...scan } = scanColumns(mambaShape(mixer), timeSteps + Math.ceil(heads / 4) * 4);
  return { gate: 0, values, keys, queries, timeSteps, ...scan, stride: end };
}
