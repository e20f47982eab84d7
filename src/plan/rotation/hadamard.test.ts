import { describe, expect, it } from "vitest";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { createRotation, hadamardOrder, paleyMatrix, type Rotation } from "./hadamard.ts";

/** Rotates numbers that begin at `first`. */
function rotate({ size, factors, turn }: Rotation, values: Float64Array, first: number): void {
  for (let i = 0; i < size; i++) values[first + i] = (values[first + i] ?? 0) * (factors[i] ?? 0);
  turn(values, first, 1);
}

/** x R by rows of R, each the rotated unit vector. */
function rowsOf(size: number, seed: number | null): Float64Array[] {
  const rotation = createRotation(size, seed);
  return Array.from({ length: size }, (_, index) => {
    const row = new Float64Array(size);
    row[index] = 1;
    rotate(rotation, row, 0);
    return row;
  });
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
}

describe("Paley's matrices", () => {
  it.each([4, 8, 12, 20, 28, 36, 60, 84, 180])("of order %i are of ones with orthogonal rows", (order) => {
    const matrix = paleyMatrix(order);
    if (!matrix) throw new Error("no matrix");
    expect(matrix.every((value) => Math.abs(value) === 1)).toBe(true);
    const row = (index: number) => matrix.subarray(index * order, (index + 1) * order);
    for (let i = 0; i < order; i++) for (let j = 0; j < i; j++) expect(dot(row(i), row(j))).toBe(0);
  });
});

describe("a rotation", () => {
  it.each([1, 2, 64, 12, 72, 56, 92, 7])("of %i values is orthogonal", (size) => {
    const rows = rowsOf(size, 1);
    const worst = rows.flatMap((row, i) =>
      rows.slice(0, i + 1).map((other, j) => Math.abs(dot(row, other) - Number(i === j))),
    );
    expect(Math.max(...worst)).toBeLessThan(1e-12);
  });

  // Hidden sizes and heads of known models.
  it.each([
    64, 80, 96, 112, 128, 192, 256, 576, 640, 768, 896, 960, 1024, 1152, 1280, 1536, 1920, 2048, 2304, 2560,
  ])("of %i values spreads one value evenly", (size) => {
    expect(hadamardOrder(size)).not.toBeNull();
    const values = new Float64Array(size + 2);
    values[3] = 1;
    rotate(createRotation(size, 5), values, 2);
    const expected = 1 / Math.sqrt(size);
    expect([values[0], values[1]]).toEqual([0, 0]);
    for (const value of values.subarray(2)) expect(Math.abs(Math.abs(value) - expected)).toBeLessThan(1e-12);
  });

  it.each([2880, 3072, 3584, 3840, 4096, 4608, 5120, 5376, 6144, 7168, 8192, 16_384])(
    "of %i values keeps lengths",
    (size) => {
      expect(hadamardOrder(size)).not.toBeNull();
      const values = Float64Array.from(randomNormal(size, seededRandom(2)));
      const before = dot(values, values);
      rotate(createRotation(size, 3), values, 0);
      expect(dot(values, values) / before).toBeCloseTo(1, 12);
    },
  );

  it("is the same for the same seed, another one for another, and Sylvester's own without", () => {
    expect(rowsOf(24, 7)).toEqual(rowsOf(24, 7));
    expect(rowsOf(24, 7)).not.toEqual(rowsOf(24, 8));
    const half = 1 / Math.sqrt(2);
    expect(rowsOf(2, null).map((row) => [...row])).toEqual([
      [half, half],
      [half, -half],
    ]);
  });

  it.each([16, 32, 12, 72, 56, 104])("of %i values turns several side by side as it turns each", (size) => {
    const rotation = createRotation(size, 1);
    for (const lanes of [3, 8]) {
      const values = Float64Array.from(randomNormal(size * lanes, seededRandom(4)));
      const together = values.slice();
      rotation.turn(together, 0, lanes);
      for (let lane = 0; lane < lanes; lane++) {
        const own = Float64Array.from({ length: size }, (_, i) => values[i * lanes + lane] ?? 0);
        rotation.turn(own, 0, 1);
        const found = own.map((_, i) => together[i * lanes + lane] ?? 0);
        own.forEach((value, i) => expect(found[i]).toBeCloseTo(value, 12));
      }
    }
  });
});
