// One scheme for each part of a model, so that the whole has a wanted size and loses the least: from the smallest choice of every
// part, the step with the most loss saved for a byte is taken first (the lower convex hull of each part's choices, all of them
// merged), which is the least loss of each size that the curve passes through.

/** What a part of a model is and loses in one scheme. */
export interface SchemeChoice {
  readonly bytes: number;
  /** How much it changes what the model gives out, in a measure that adds up over parts. */
  readonly loss: number;
}

/** Modules that a server gives one scheme. */
export interface SchemeUnit {
  readonly modules: readonly string[];
  /** By scheme, in one order for all units. */
  readonly choices: readonly SchemeChoice[];
}

/** A point of the curve of size against loss. */
export interface SizePoint extends SchemeChoice {
  /** Each unit's scheme, by its place among the choices. */
  readonly schemes: readonly number[];
}

interface Step {
  readonly unit: number;
  readonly to: number;
  readonly bytes: number;
  readonly saved: number;
}

/** Choices from the smallest to the best, of which none is above the line between two others. */
function hullOf(choices: readonly SchemeChoice[]): number[] {
  const bySize = choices
    .map((choice, index) => ({ ...choice, index }))
    .toSorted((a, b) => a.bytes - b.bytes || a.loss - b.loss);
  const hull: (SchemeChoice & { readonly index: number })[] = [];
  for (const choice of bySize) {
    const best = hull.at(-1);
    if (best && choice.loss >= best.loss) continue;
    for (;;) {
      const [before, last] = [hull.at(-2), hull.at(-1)];
      if (!before || !last || slope(before, last) > slope(last, choice)) break;
      hull.pop();
    }
    hull.push(choice);
  }
  return hull.map(({ index }) => index);
}

/** Loss saved for a byte. */
function slope(from: SchemeChoice, to: SchemeChoice): number {
  return (from.loss - to.loss) / (to.bytes - from.bytes);
}

/** Steps of all units, the most saving first; those of one unit are in order, because its hull is convex. */
function stepsOf(units: readonly SchemeUnit[], hulls: readonly (readonly number[])[]): Step[] {
  const steps = hulls.flatMap((hull, unit) =>
    hull.slice(1).map((to, at): Step => {
      const [before, after] = [units[unit]?.choices[hull[at] ?? 0], units[unit]?.choices[to]];
      const bytes = (after?.bytes ?? 0) - (before?.bytes ?? 0);
      return { unit, to, bytes, saved: (before?.loss ?? 0) - (after?.loss ?? 0) };
    }),
  );
  return steps.toSorted((a, b) => b.saved / b.bytes - a.saved / a.bytes);
}

function start(units: readonly SchemeUnit[], hulls: readonly (readonly number[])[]): SizePoint {
  const schemes = hulls.map(([first = 0]) => first);
  return { schemes, ...sumOf(units, schemes) };
}

function sumOf(units: readonly SchemeUnit[], schemes: readonly number[]): SchemeChoice {
  const chosen = units.flatMap(({ choices }, unit) => choices[schemes[unit] ?? 0] ?? []);
  return {
    bytes: chosen.reduce((sum, { bytes }) => sum + bytes, 0),
    loss: chosen.reduce((sum, { loss }) => sum + loss, 0),
  };
}

/** From the smallest size to the one that loses the least, a point for each step. */
export function sizeCurve(units: readonly SchemeUnit[]): SizePoint[] {
  const hulls = units.map(({ choices }) => hullOf(choices));
  const points = [start(units, hulls)];
  for (const { unit, to, bytes, saved } of stepsOf(units, hulls)) {
    const last = points.at(-1);
    if (!last) break;
    points.push({
      schemes: last.schemes.with(unit, to),
      bytes: last.bytes + bytes,
      loss: last.loss - saved,
    });
  }
  return points;
}

/** A mixture that saves less of what one scheme for all would lose is not worth its unevenness: predictions err by as much. */
const LEAST_SAVED = 0.1;

/**
 * The choice that loses the least of those that are not larger; null if the smallest is. One scheme for all units is chosen where
 * it fits and no mixture saves at least a tenth of its loss.
 */
export function chooseSchemes(units: readonly SchemeUnit[], bytes: number): SizePoint | null {
  const mixed = mixSchemes(units, bytes);
  if (!mixed) return null;
  const count = Math.min(...units.map(({ choices }) => choices.length));
  const uniform = Array.from({ length: count }, (_, scheme): SizePoint => {
    const schemes = units.map(() => scheme);
    return { schemes, ...sumOf(units, schemes) };
  }).filter((point) => point.bytes <= bytes);
  const [best] = uniform.toSorted((a, b) => a.loss - b.loss || a.bytes - b.bytes);
  return best && mixed.loss > (1 - LEAST_SAVED) * best.loss ? best : mixed;
}

/** What the curve leaves free is filled with later steps that fit. */
function mixSchemes(units: readonly SchemeUnit[], bytes: number): SizePoint | null {
  const hulls = units.map(({ choices }) => hullOf(choices));
  const first = start(units, hulls);
  if (first.bytes > bytes) return null;
  const schemes = [...first.schemes];
  let left = bytes - first.bytes;
  const passed = new Set<number>();
  for (const step of stepsOf(units, hulls)) {
    // A unit whose step did not fit has none after it.
    if (step.bytes > left || passed.has(step.unit)) {
      passed.add(step.unit);
      continue;
    }
    schemes[step.unit] = step.to;
    left -= step.bytes;
  }
  return { schemes, ...sumOf(units, schemes) };
}
