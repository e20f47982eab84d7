// What was measured of an adapter, and what suits it.

import type { LedgerBuffer } from "../memory.ts";
import type { MatrixShape } from "../matmul/matrix-shape.ts";
import type { StrassenScratch, StrassenSize } from "../matmul/strassen/strassen-size.ts";

/** Matrix units that a job's forward products run on, and its Hessians. */
export interface MatrixUnits {
  readonly shape: MatrixShape;
  /** True if Hessians are summed on them, too. */
  hessians: boolean;
  /** True if large products are faster in wide tiles. Either way gives the same bits. */
  wide: boolean;
  /** Two words for each slot. */
  readonly largest: LedgerBuffer;
  /** The slot for the next product: batches record side by side. */
  takeSlot(): number;
}

export interface Tuning {
  /** Large shapes are faster with large tiles: GPUs with few registers have to spill them. */
  largeProducts: boolean;
  /** Shapes of fewer large tiles are faster with small ones: a GPU of many processors would be idle for the most part. */
  largeFrom: number;
  /** Matrix units that forward products run on; null for float32 arithmetic throughout. */
  matrices: MatrixUnits | null;
  /** Scratch of Strassen's products, which large forward products are made of where matrix units take none; null for plain ones. */
  strassen: StrassenScratch | null;
  /** What scratch is opened for by whoever has room for it for a while; null where it stays, or is not wanted. */
  lentStrassen: StrassenSize | null;
}
