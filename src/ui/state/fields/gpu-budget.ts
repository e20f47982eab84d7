const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

/** Budgets that the slider offers; any other can be typed. */
export const BUDGET_STEPS: readonly number[] = [
  128 * MIB,
  256 * MIB,
  512 * MIB,
  ...[1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80].map((gib) => gib * GIB),
];

/** Below this not even a tile of one weight and its staging buffers fit. */
export const MIN_BUDGET_BYTES = 32 * MIB;

/** Leaves small machines room for their desktop, and is more than a layer of most models needs. */
const MAX_DEFAULT_BYTES = 4 * GIB;

/**
 * A budget for an adapter whose memory nobody tells: its largest buffer is the only hint, a tier and not a size.
 * Adapters that allow 2 GiB buffers have that much and more; below, half is left to everything else.
 */
export function defaultBudget(maxBufferBytes: number): number {
  // Browsers report 4 GiB - 4 for the 4 GiB tier.
  const tier = Math.ceil(maxBufferBytes / MIB) * MIB;
  return floorStep(Math.min(MAX_DEFAULT_BYTES, tier >= 2 * GIB ? tier : tier / 2));
}

/** Index of the largest step that is not above the budget; 0 below all steps. */
export function stepIndex(bytes: number): number {
  return Math.max(
    0,
    BUDGET_STEPS.findLastIndex((step) => step <= bytes),
  );
}

function floorStep(bytes: number): number {
  return BUDGET_STEPS[stepIndex(bytes)] ?? MIN_BUDGET_BYTES;
}
