// Products with a small matrix whose elements are whole blocks of values: the part of a rotation that Sylvester's matrices
// leave over.

/** Blocks of values, end to end: block b becomes Σ_a matrix[a][b] · block a. */
export type MixBlocks = (values: Float64Array, first: number, width: number) => void;

/** Blocks whose sums and differences are made once and used in every result. */
const AT_ONCE = 4;
/** Sums of ± four values, of which the first is added: the others are these with another sign. */
const COMBINATIONS = 2 ** (AT_ONCE - 1);
/** Places of a block that are worked on side by side, so that their sums do not wait for each other. */
const LANES = 4;

/**
 * Mixes blocks by a matrix of ones and minus ones, (order, order), order a multiple of 4. All a ± b ± c ± d of four blocks
 * are made first, so that each result is a sum of a quarter as many numbers as there are blocks.
 */
export function mixBySigns(matrix: Float64Array, order: number): MixBlocks {
  const quads = order / AT_ONCE;
  const wanted = wantedSums(matrix, order);
  const sums = new Float64Array(quads * COMBINATIONS * LANES);
  return (values, first, width) => {
    for (let i = 0; i < width; i += LANES) {
      const lanes = Math.min(LANES, width - i);
      combine(values, first + i, width, sums, lanes);
      if (lanes === LANES) addUp(values, first + i, width, sums, wanted);
      else addUpRest(values, first + i, width, sums, { wanted, lanes });
    }
  };
}

/** For each result, where the sums begin that are added, then those that are subtracted. */
interface WantedSums {
  readonly places: Uint32Array;
  /** How many of each result's are added. */
  readonly added: Uint32Array;
}

function wantedSums(matrix: Float64Array, order: number): WantedSums {
  const quads = order / AT_ONCE;
  const [places, added]: [number[], number[]] = [[], []];
  for (let result = 0; result < order; result++) {
    const subtracted: number[] = [];
    const before = places.length;
    for (let quad = 0; quad < quads; quad++) {
      const signs = [0, 1, 2, 3].map((i) => matrix[(AT_ONCE * quad + i) * order + result] ?? 0);
      const [a = 1, ...rest] = signs;
      const combination = rest.reduce((sum, sign, i) => sum + (sign === a ? 0 : 2 ** i), 0);
      (a > 0 ? places : subtracted).push((quad * COMBINATIONS + combination) * LANES);
    }
    added.push(places.length - before);
    places.push(...subtracted);
  }
  return { places: Uint32Array.from(places), added: Uint32Array.from(added) };
}

/** Makes the sums of each four blocks for so many lanes; bit i of a sum's number says that block i + 1 is subtracted. */
function combine(
  values: Float64Array,
  first: number,
  width: number,
  sums: Float64Array,
  lanes: number,
): void {
  let from = first;
  for (let quad = 0; quad < sums.length; quad += COMBINATIONS * LANES, from += AT_ONCE * width) {
    for (let lane = 0; lane < lanes; lane++) {
      const at = from + lane;
      const to = quad + lane;
      const a = values[at] ?? 0;
      const b = values[at + width] ?? 0;
      const c = values[at + 2 * width] ?? 0;
      const d = values[at + 3 * width] ?? 0;
      const plus = a + b;
      const minus = a - b;
      const high = c + d;
      const low = c - d;
      sums[to] = plus + high;
      sums[to + LANES] = minus + high;
      sums[to + 2 * LANES] = plus - low;
      sums[to + 3 * LANES] = minus - low;
      sums[to + 4 * LANES] = plus + low;
      sums[to + 5 * LANES] = minus + low;
      sums[to + 6 * LANES] = plus - high;
      sums[to + 7 * LANES] = minus - high;
    }
  }
}

/** The results of four lanes. */
function addUp(
  values: Float64Array,
  first: number,
  width: number,
  sums: Float64Array,
  { places, added }: WantedSums,
): void {
  const quads = places.length / added.length;
  let to = first;
  let next = 0;
  for (let result = 0; result < added.length; result++) {
    let s = 0;
    let t = 0;
    let u = 0;
    let v = 0;
    const turn = next + (added[result] ?? 0);
    const end = next + quads;
    for (; next < turn; next++) {
      const at = places[next] ?? 0;
      s += sums[at] ?? 0;
      t += sums[at + 1] ?? 0;
      u += sums[at + 2] ?? 0;
      v += sums[at + 3] ?? 0;
    }
    for (; next < end; next++) {
      const at = places[next] ?? 0;
      s -= sums[at] ?? 0;
      t -= sums[at + 1] ?? 0;
      u -= sums[at + 2] ?? 0;
      v -= sums[at + 3] ?? 0;
    }
    values[to] = s;
    values[to + 1] = t;
    values[to + 2] = u;
    values[to + 3] = v;
    to += width;
  }
}

/** The results of fewer. */
function addUpRest(
  values: Float64Array,
  first: number,
  width: number,
  sums: Float64Array,
  { wanted, lanes }: { readonly wanted: WantedSums; readonly lanes: number },
): void {
  const { places, added } = wanted;
  const quads = places.length / added.length;
  for (let result = 0; result < added.length; result++) {
    for (let lane = 0; lane < lanes; lane++) {
      let sum = 0;
      for (let quad = 0; quad < quads; quad++) {
        const term = sums[(places[result * quads + quad] ?? 0) + lane] ?? 0;
        sum += quad < (added[result] ?? 0) ? term : -term;
      }
      values[first + result * width + lane] = sum;
    }
  }
}

/** Mixes blocks by any matrix, (order, order). */
export function mixByProducts(matrix: Float64Array, order: number): MixBlocks {
  const mixed = new Float64Array(order);
  return (values, first, width) => {
    for (let i = first; i < first + width; i++) {
      for (let b = 0; b < order; b++) {
        let sum = 0;
        for (let a = 0; a < order; a++) sum += (matrix[a * order + b] ?? 0) * (values[i + a * width] ?? 0);
        mixed[b] = sum;
      }
      for (let b = 0; b < order; b++) values[i + b * width] = mixed[b] ?? 0;
    }
  };
}
