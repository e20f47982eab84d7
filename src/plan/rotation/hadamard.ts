// Orthogonal matrices that spread what is large in one place over all places: Hadamard matrices of many sizes, with random
// signs if wanted (QuaRot, arXiv 2404.00456; SpinQuant, arXiv 2405.16406).
//
// A size n = m · 2^k is rotated by diag(signs) · (K ⊗ S) / √n: S is Sylvester's matrix of order 2^k, applied by additions
// alone, and K one of order m after Paley, from the squares modulo a prime (m = 12, 20, 28, 36, …). Where there is none, K
// is a random orthogonal matrix of the odd part of n, which any size has.

import { type MixBlocks, mixByProducts, mixBySigns } from "./mix-blocks.ts";
import { randomStream, type RandomStream } from "./random-stream.ts";
import { multiplySylvester } from "./sylvester.ts";

/** x R = turn(x · factors) for values x of `size` numbers each. */
export interface Rotation {
  readonly size: number;
  /** What each number is multiplied by first: a sign over √size. */
  readonly factors: Float64Array;
  /**
   * Does the rest to `size` numbers that begin at `first`, in place. With `lanes`, to so many values side by side: number i
   * of lane l lies at `first + i · lanes + l`.
   */
  readonly turn: (values: Float64Array, first: number, lanes: number) => void;
}

/**
 * The rotation of a size, the same for the same seed. Without a seed it has no random signs (LLM Compressor's
 * `transform_type: hadamard`); the matrix of a size that has no Hadamard matrix is drawn with the seed 0 then.
 */
export function createRotation(size: number, seed: number | null): Rotation {
  const random = randomStream(seed ?? 0);
  const { mix, order } = innerMix(size, random);
  const factor = 1 / Math.sqrt(size);
  const width = size / order;
  return {
    size,
    factors: Float64Array.from({ length: size }, () => (seed !== null && random() < 0.5 ? -factor : factor)),
    turn(values, first, lanes) {
      for (let block = 0; block < order; block++) {
        multiplySylvester(values, first + block * width * lanes, width, lanes);
      }
      mix?.(values, first, width * lanes);
    },
  };
}

/** Multiplies by K with K Kᵀ = order · I, of the smallest order that leaves a power of two; nothing to do for order 1. */
function innerMix(size: number, random: RandomStream): { mix: MixBlocks | null; order: number } {
  const order = hadamardOrder(size);
  const matrix = order === null ? null : paleyMatrix(order);
  if (order === 1) return { mix: null, order };
  if (order !== null && matrix) return { mix: mixBySigns(matrix, order), order };
  const odd = oddPart(size);
  return { mix: mixByProducts(randomOrthogonal(odd, random), odd), order: odd };
}

/** The order of the Hadamard matrix that remains of a size beside a power of two; null if none is known here. */
export function hadamardOrder(size: number): number | null {
  const odd = oddPart(size);
  if (odd === 1) return 1;
  for (let order = 4 * odd; size % order === 0; order *= 2) if (paleyMatrix(order)) return order;
  return null;
}

function oddPart(size: number): number {
  let odd = size;
  while (odd % 2 === 0) odd /= 2;
  return odd;
}

/**
 * A Hadamard matrix of order q + 1 for a prime q = 3 modulo 4, or 2 (q + 1) for a prime q = 1 modulo 4 (Paley 1933); null if
 * the order is neither. That of order 1 is 1.
 */
export function paleyMatrix(order: number): Float64Array | null {
  if (order === 1) return Float64Array.of(1);
  if (order % 4 !== 0) return null;
  if (isPrime(order - 1)) return paleyFirst(order - 1);
  const q = order / 2 - 1;
  return q % 4 === 1 && isPrime(q) ? paleySecond(q) : null;
}

/** I + [[0, 1], [−1, Q]] with Q_ij = χ(i − j). */
function paleyFirst(q: number): Float64Array {
  const symbols = quadraticSymbols(q);
  const order = q + 1;
  return Float64Array.from({ length: order * order }, (_, index) => {
    const [i, j] = [Math.floor(index / order), index % order];
    if (i === j) return 1;
    if (i === 0) return 1;
    if (j === 0) return -1;
    return symbols[(i - j + q) % q] ?? 0;
  });
}

/** [[C + I, C − I], [C − I, −C − I]] with the symmetric C = [[0, 1], [1, Q]]. */
function paleySecond(q: number): Float64Array {
  const symbols = quadraticSymbols(q);
  const half = q + 1;
  const conference = (i: number, j: number) => {
    if (i === j) return 0;
    if (i === 0 || j === 0) return 1;
    return symbols[(i - j + q) % q] ?? 0;
  };
  const order = 2 * half;
  return Float64Array.from({ length: order * order }, (_, index) => {
    const [i, j] = [Math.floor(index / order), index % order];
    const c = conference(i % half, j % half);
    const diagonal = Number(i % half === j % half);
    if (i < half && j < half) return c + diagonal;
    return i >= half && j >= half ? -c - diagonal : c - diagonal;
  });
}

/** χ(a) modulo a prime: 1 for squares, −1 for others, 0 for 0. */
function quadraticSymbols(q: number): Int8Array {
  const symbols = new Int8Array(q).fill(-1);
  symbols[0] = 0;
  for (let a = 1; a < q; a++) symbols[(a * a) % q] = 1;
  return symbols;
}

function isPrime(value: number): boolean {
  if (value < 2) return false;
  for (let divisor = 2; divisor * divisor <= value; divisor++) if (value % divisor === 0) return false;
  return true;
}

/** √n times an orthogonal matrix: Gram and Schmidt over random directions, twice for float64's sake. */
function randomOrthogonal(n: number, random: RandomStream): Float64Array {
  const rows = new Float64Array(n * n).map(
    () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  );
  for (let i = 0; i < n; i++) {
    const row = rows.subarray(i * n, i * n + n);
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const other = rows.subarray(j * n, j * n + n);
        const along = dot(row, other) / n;
        other.forEach((value, at) => {
          row[at] = (row[at] ?? 0) - along * value;
        });
      }
    }
    const length = Math.sqrt(dot(row, row) / n);
    row.forEach((value, at) => {
      row[at] = value / length;
    });
  }
  return rows;
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
}
