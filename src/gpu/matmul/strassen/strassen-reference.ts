// Strassen's product as the kernels compute it, in float32 and plain TypeScript.

import type { ProductSize } from "./strassen-size.ts";

/** Each column and each row of both sides by its power of two, and the seven products of quadrants. */
export function strassenReference(
  a: Float32Array,
  weight: Float32Array,
  { m, n, k }: ProductSize,
): Float32Array {
  const columns = Array.from({ length: k }, (_, column) =>
    powerOf(Array.from({ length: n }, (__, row) => weight[row * k + column] ?? 0)),
  );
  const left = scaledRows(a, m, k, (column) => columns[column] ?? 1);
  const right = scaledRows(weight, n, k, (column) => 1 / (columns[column] ?? 1));
  const c = new Float32Array(m * n);
  for (let row = 0; row < m; row += 2) {
    for (let column = 0; column < n; column += 2) {
      const found = pairOf([left.at(row), left.at(row + 1)], [right.at(column), right.at(column + 1)], k / 2);
      found.forEach((value, index) => {
        const [i, j] = [row + (index >> 1), column + (index & 1)];
        const power = (left.at(i)?.power ?? 1) * (right.at(j)?.power ?? 1);
        if (i < m) c[i * n + j] = value * power;
      });
    }
  }
  return c;
}

interface ScaledRow {
  readonly values: Float32Array;
  readonly power: number;
}

function scaledRows(
  matrix: Float32Array,
  rows: number,
  k: number,
  factor: (column: number) => number,
): ScaledRow[] {
  return Array.from({ length: rows }, (_, row) => {
    const own = matrix.subarray(row * k, row * k + k).map((value, column) => value * factor(column));
    const power = powerOf([...own]);
    return { values: own.map((value) => value / power), power };
  });
}

function powerOf(values: readonly number[]): number {
  const largest = Math.max(...values.map(Math.abs));
  return largest > 0 ? 2 ** Math.floor(Math.log2(largest)) : 1;
}

/** The four results of two rows by two rows of the weight, `half` values to each of their halves. */
function pairOf(
  left: readonly [ScaledRow | undefined, ScaledRow | undefined],
  right: readonly [ScaledRow | undefined, ScaledRow | undefined],
  half: number,
): [number, number, number, number] {
  const quadrant = (row: ScaledRow | undefined, second: boolean) =>
    row?.values.subarray(second ? half : 0, second ? 2 * half : half) ?? new Float32Array(half);
  const [a11, a12] = [quadrant(left[0], false), quadrant(left[0], true)];
  const [a21, a22] = [quadrant(left[1], false), quadrant(left[1], true)];
  const [b11, b21] = [quadrant(right[0], false), quadrant(right[0], true)];
  const [b12, b22] = [quadrant(right[1], false), quadrant(right[1], true)];
  const m1 = dot(sum(a11, a22), sum(b11, b22));
  const m2 = dot(sum(a21, a22), b11);
  const m3 = dot(a11, sum(b12, b22, -1));
  const m4 = dot(a22, sum(b21, b11, -1));
  const m5 = dot(sum(a11, a12), b22);
  const m6 = dot(sum(a21, a11, -1), sum(b11, b12));
  const m7 = dot(sum(a12, a22, -1), sum(b21, b22));
  const add = (x: number, y: number) => Math.fround(x + y);
  return [add(add(m1, m7), add(m4, -m5)), add(m3, m5), add(m2, m4), add(add(m1, m6), add(m3, -m2))];
}

function sum(one: Float32Array, other: Float32Array, sign = 1): Float32Array {
  return one.map((value, index) => value + sign * (other[index] ?? 0));
}

function dot(one: Float32Array, other: Float32Array): number {
  return one.reduce((total, value, index) => Math.fround(total + value * (other[index] ?? 0)), 0);
}
