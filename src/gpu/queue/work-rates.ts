// How much work of each kernel makes a millisecond on this GPU, learned from submits. Small dispatches leave most of a
// large GPU idle, so a kernel has a rate for each size of dispatch: the same flops in a thousand small dispatches take
// many times as long as in one.

/** Milliseconds that one submit should take: a fourth of what must not be exceeded, since estimates err. */
export const TARGET_MS = 12;
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
  /** The kernel's constants: the same product is slower where one side lies across. */
  readonly variant: string;
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
  // Of each kernel, for the limit, and of each of its variants, for what is predicted.
  const learned = new Map<string, Rates>();
  const ratesOf = (name: string) => {
    const rates = learned.get(name) ?? new Map<number, Rate>();
    learned.set(name, rates);
    return rates;
  };
  const predict = (dispatch: DispatchedWork) => {
    const own = ratesOf(nameOf(dispatch));
    const rates = own.size > 0 ? own : ratesOf(dispatch.kernel);
    return dispatch.work * msPerUnit(rates, classOf(dispatch.work));
  };
  return {
    knows: (dispatch) => ratesOf(nameOf(dispatch)).has(classOf(dispatch.work)),
    predict,
    limit: (kernel) => limitOf(ratesOf(kernel)),
    learn(dispatches, milliseconds) {
      const predicted = dispatches.reduce((sum, dispatch) => sum + predict(dispatch), 0);
      if (predicted === 0) return;
      const factor = Math.max(milliseconds, CLOCK_MS / 2) / predicted;
      for (const { dispatch, predictedMs } of groupBySize(dispatches, predict)) {
        const measured = (predict(dispatch) * factor) / dispatch.work;
        const share = predictedMs / predicted;
        for (const name of [dispatch.kernel, nameOf(dispatch)]) {
          adopt(ratesOf(name), dispatch.work, measured, share);
        }
      }
    },
  };
}

function nameOf({ kernel, variant }: DispatchedWork): string {
  return `${kernel}/${variant}`;
}

function classOf(work: number): number {
  return Math.floor(Math.log(Math.max(work, 1)) / Math.log(CLASS_FACTOR));
}

/** The rate of the nearest measured size, smaller ones first: they are never faster. */
function msPerUnit(rates: Rates, size: number): number {
  const sizes = [...rates.keys()].toSorted((a, b) => a - b);
  const nearest = sizes.findLast((each) => each <= size) ?? sizes[0];
  return (nearest === undefined ? undefined : rates.get(nearest)?.msPerUnit) ?? 1 / INITIAL_RATE;
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

/** What the dispatches of one variant and size take together, with the largest of them. */
interface SizeGroup {
  readonly dispatch: DispatchedWork;
  readonly predictedMs: number;
}

function groupBySize(
  dispatches: readonly DispatchedWork[],
  predict: (dispatch: DispatchedWork) => number,
): SizeGroup[] {
  const groups = new Map<string, SizeGroup>();
  for (const dispatch of dispatches) {
    if (dispatch.work === 0) continue;
    const key = `${nameOf(dispatch)}/${classOf(dispatch.work)}`;
    const before = groups.get(key);
    const predictedMs = (before?.predictedMs ?? 0) + predict(dispatch);
    const larger = before && before.dispatch.work > dispatch.work ? before.dispatch : dispatch;
    groups.set(key, { dispatch: larger, predictedMs });
  }
  return [...groups.values()];
}

/** Moves the rate of dispatches that took `measured` milliseconds a unit and were that share of their submit. */
function adopt(rates: Rates, work: number, measured: number, share: number): void {
  const size = classOf(work);
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
