// Rounding to nearest as a quantizer: it goes in tiles that the plan sets aside, and asks nothing of a text unless its
// observer weighs columns.

import { usesImportance } from "../../formats/schemes/quantization-args.ts";
import type { Quantizer } from "../quantizer.ts";

export const roundingQuantizer: Quantizer = {
  name: "QuantizationModifier",
  statistics: ({ weights }) => (usesImportance(weights) ? ["squares"] : []),
  tiled: true,
  expects: "nearest",
  work: () => 0,
  phase: () => ({ bytes: 0, tileRows: new Map() }),
  overlapBytes: () => 0,
  prepare: () => undefined,
  async quantize(run) {
    await run.round(run.tasks);
    return [];
  },
};
