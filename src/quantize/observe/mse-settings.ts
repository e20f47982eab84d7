// Options of LLM Compressor's observers `memoryless_mse`, `nvfp4_expanded_mse` (`observers/mse.py`) and `imatrix_mse`
// (`observers/imatrix.py`), which search the range that quantizes with the least error.

import { RecipeError } from "../../errors.ts";
import { type QuantizationArgs, usesImportance } from "../../formats/schemes/quantization-args.ts";

export interface MseSettings {
  /** Steps of the search; step i shrinks the range to 1 − i / grid of itself. */
  readonly steps: number;
  readonly grid: number;
  /** Exponent of the error: 2 would be the mean square. */
  readonly norm: number;
  /** Steps in a row that may improve no group of the tensor before the search ends. */
  readonly patience: number;
  /** The search starts at this multiple of the observed range. */
  readonly expand: number;
  /** True if each input column's errors count by its importance. */
  readonly weighted: boolean;
}

/** More steps than any published setting has; each costs one pass over the weights. */
export const MAX_MSE_STEPS = 256;

const DEFAULTS = { maxshrink: 0.2, grid: 100, norm: 2.4, patience: 5, expand: 1 };
const EXPANDED = { ...DEFAULTS, maxshrink: 1 - 0.8 / 1.8, grid: 200, patience: 1000, expand: 1.8 };
const WEIGHTED = { ...DEFAULTS, maxshrink: 0.95, grid: 20, norm: 3 };

/**
 * The search that a weight's observer makes, or null for the observers of the plain range. For weights, "minmax" and
 * "static_minmax" are "memoryless_minmax", and "mse" is "memoryless_mse", as LLM Compressor has it.
 * @throws RecipeError if an option is out of its range.
 */
export function mseSettings(
  args: Pick<QuantizationArgs, "observer" | "observer_kwargs">,
): MseSettings | null {
  const defaults = defaultsOf(args.observer);
  if (!defaults) return null;
  const weighted = usesImportance(args);
  const { maxshrink, grid, norm, patience, expand } = { ...defaults, ...numbers(args.observer_kwargs) };
  // imatrix_mse takes one step more: with its defaults the last one leaves a twentieth of the range.
  const steps = Math.trunc(maxshrink * grid) + Number(weighted);
  if (!(steps >= 1 && steps <= MAX_MSE_STEPS && maxshrink < 1 && expand >= 1 && norm > 0 && patience >= 1)) {
    throw new RecipeError(
      `The observer ${args.observer} takes maxshrink below 1, grid so that maxshrink × grid lies between 1 and ${MAX_MSE_STEPS - Number(weighted)}, and positive norm and patience; expand is at least 1.`,
    );
  }
  return { steps, grid, norm, patience, expand, weighted };
}

function defaultsOf(observer: QuantizationArgs["observer"]): typeof DEFAULTS | null {
  if (observer === "memoryless_mse" || observer === "mse") return DEFAULTS;
  if (observer === "imatrix_mse") return WEIGHTED;
  return observer === "nvfp4_expanded_mse" ? EXPANDED : null;
}

function numbers(options: Readonly<Record<string, unknown>>): Partial<typeof DEFAULTS> {
  const known = Object.entries(options).filter(
    ([name, value]) => Object.hasOwn(DEFAULTS, name) && typeof value === "number",
  );
  return Object.fromEntries(known);
}

/**
 * Steps that the library takes: it stops once `patience` steps in a row have improved no group of the whole tensor.
 * `improved[i]` says whether step i improved any.
 */
export function stepsTaken(improved: readonly boolean[], patience: number): number {
  let stale = 0;
  for (const [step, better] of improved.entries()) {
    stale = better ? 0 : stale + 1;
    if (stale >= patience) return step + 1;
  }
  return improved.length;
}

/** The factor of a step, as torch takes it into a multiplication. */
export function shrinkOf(step: number, { grid }: MseSettings): number {
  return Math.fround(1 - step / grid);
}
