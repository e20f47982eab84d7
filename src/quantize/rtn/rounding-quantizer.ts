// Rounding to nearest as a quantizer: it asks nothing of a text, and goes in tiles that the plan sets aside.

import type { Quantizer } from "../quantizer.ts";

export const roundingQuantizer: Quantizer = {
  name: "QuantizationModifier",
  statistics: () => [],
  tiled: true,
  expects: "nearest",
  work: () => 0,
  phase: () => ({ bytes: 0, tileRows: new Map(), backupOnGpu: true }),
  overlapBytes: () => 0,
  prepare: () => undefined,
  async quantize(run) {
    await run.round(run.tasks);
    return [];
  },
};
