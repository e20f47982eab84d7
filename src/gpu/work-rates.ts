// How much work of each kernel makes a millisecond on this GPU, learned from submits. Small dispatches leave most of a
// large GPU idle, so a kernel has a rate for each size of dispatch: the same flops in a thousand small dispatches take
// many times as long as in one.

/** Milliseconds that one submit should take. */
export const TARGET_MS = 20;
/** Work units per millisecond that are assumed of an unmeasured kernel: a slow integrated GPU's. */
const INITIAL_RATE = 1_000_000;
/** Milliseconds that an unmeasured kernel's first dispatch may take by that guess. */
const FIRST_MS = 5;
/** Sizes of dispatches that share a rate are within this factor of each other. */
const CLASS_FACTOR = 4;
/** One dispatch may have so many times the work of the largest that was measured. */
const MAX_GROWTH = 4;
/** Share of a measurement in the new estimate. */
const ADOPTION = 0.5;
/** A size that turned out too slow is believed a little less with each submit of smaller ones, and tried again some day. */
const FORGETTING = 1.02;
/** Browsers round timestamps to so many milliseconds, so short submits seem to take none. */
const CLOCK_MS = 0.1;

/** Dispatches of one kernel in a submit. */
export interface DispatchedWork {
  readonly kernel: string;
  /** Work units of one dispatch. */
  readonly work: number;
}

export interface WorkRates {
  /** True if dispatches of this size were measured. */
  knows(dispatch: DispatchedWork): boolean;
  /** Milliseconds that a dispatch is thought to take. */
  predict(dispatch: DispatchedWork): number;
  /** Work units that one dispatch of a kernel may have. */
  limit(kernel: string): number;
  /** Takes in what a submit of these dispatches took. */
  learn(dispatches: readonly DispatchedWork[], milliseconds: number): void;
}

interface Rate {
  msPerUnit: number;
  /** Work of the largest dispatch of this size that was measured. */
  seen: number;
}

/** A kernel's rates by size class: dispatches of class c have a work from CLASS_FACTOR ** c on. */
type Rates = Map<number, Rate>;

/** Starts with nothing measured. */
export function createWorkRates(): WorkRates {
  const kernels = new Map<string, Rates>();
  const predict = ({ kernel, work }: DispatchedWork) => work * msPerUnit(kernels.get(kernel), classOf(work));
  return {
    knows: ({ kernel, work }) => kernels.get(kernel)?.has(classOf(work)) ?? false,
    predict,
    limit: (kernel) => limitOf(kernels.get(kernel) ?? new Map<number, Rate>()),
    learn(dispatches, milliseconds) {
      const predicted = dispatches.reduce((sum, dispatch) => sum + predict(dispatch), 0);
      if (predicted === 0) return;
      const factor = Math.max(milliseconds, CLOCK_MS / 2) / predicted;
      for (const { kernel, work, predictedMs } of groupBySize(dispatches, predict)) {
        const rates = kernels.get(kernel) ?? new Map<number, Rate>();
        kernels.set(kernel, rates);
        adopt(rates, work, factor, predictedMs / predicted);
      }
    },
  };
}

function classOf(work: number): number {
  return Math.floor(Math.log(Math.max(work, 1)) / Math.log(CLASS_FACTOR));
}

/** The rate of the nearest measured size, smaller ones first: they are never faster. */
function msPerUnit(rates: Rates | undefined, size: number): number {
  const sizes = [...(rates?.keys() ?? [])].toSorted((a, b) => a - b);
  const nearest = sizes.findLast((each) => each <= size) ?? sizes[0];
  return (nearest === undefined ? undefined : rates?.get(nearest)?.msPerUnit) ?? 1 / INITIAL_RATE;
}

/** By the largest size of which one dispatch fits into a submit, but never into a size that was found not to fit. */
function limitOf(rates: Rates): number {
  let tooLarge = Infinity;
  let limit = INITIAL_RATE * FIRST_MS;
  for (const [size, rate] of [...rates].toSorted(([a], [b]) => b - a)) {
    const trusted = Math.max(rate.seen * MAX_GROWTH, INITIAL_RATE * FIRST_MS);
    limit = Math.min(TARGET_MS / rate.msPerUnit, trusted, tooLarge - 1);
    if (limit >= CLASS_FACTOR ** size) break;
    tooLarge = CLASS_FACTOR ** size;
  }
  return Math.max(limit, 1);
}

/** Dispatches of one kernel and size together, with the largest one's work. */
function groupBySize(
  dispatches: readonly DispatchedWork[],
  predict: (dispatch: DispatchedWork) => number,
): (DispatchedWork & { readonly predictedMs: number })[] {
  const groups = new Map<string, DispatchedWork & { readonly predictedMs: number }>();
  for (const dispatch of dispatches) {
    const { kernel, work } = dispatch;
    if (work === 0) continue;
    const key = `${kernel}/${classOf(work)}`;
    const before = groups.get(key);
    const predictedMs = (before?.predictedMs ?? 0) + predict(dispatch);
    groups.set(key, { kernel, work: Math.max(work, before?.work ?? 0), predictedMs });
  }
  return [...groups.values()];
}

/** Moves the rate of dispatches that took `factor` times what was predicted, and were that share of their submit. */
function adopt(rates: Rates, work: number, factor: number, share: number): void {
  const size = classOf(work);
  const measured = msPerUnit(rates, size) * factor;
  for (const [other, rate] of rates) {
    const isAvoided = other > size && rate.msPerUnit * CLASS_FACTOR ** other > TARGET_MS;
    if (isAvoided) rate.msPerUnit /= FORGETTING;
  }
  const known = rates.get(size);
  if (!known) {
    rates.set(size, { msPerUnit: measured, seen: work });
    return;
  }
  known.msPerUnit += (measured - known.msPerUnit) * ADOPTION * share;
  known.seen = Math.max(known.seen, work);
}
