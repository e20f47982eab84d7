import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FloatDtype, narrowFromFloat32, widenToFloat32 } from "../../../formats/numbers/dtype.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { matmulStrassen } from "./strassen.ts";
import { createStrassenScratch, isForStrassen, type ProductSize, strassenSizes } from "./strassen-size.ts";
import { strassenReference } from "./strassen-reference.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

interface Case {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly bDtype: FloatDtype;
  readonly accumulate?: boolean;
  readonly alpha?: number;
}

const MARGIN = 8;
/** The largest case has several along each side. */
const SMALL_CHUNK: ProductSize = { m: 256, n: 256, k: 64 };

/** Activations with channels that are large where the weight is small, a token a thousand times as large as its neighbour. */
function operands({ m, n, k, bDtype }: Case) {
  const random = seededRandom(m * 31 + n * 7 + k);
  const isLarge = (column: number) => column % 29 === 3;
  const a = randomNormal(m * k, random).map((value, index) => {
    const [row, column] = [Math.floor(index / k), index % k];
    return value * (isLarge(column) ? 500 : 1) * (row === 1 ? 1000 : 1);
  });
  const weight = randomNormal(n * k, random, 0.02).map((value, index) =>
    isLarge(index % k) ? value / 500 : value,
  );
  const bytes = narrowFromFloat32(bDtype, weight);
  return { a, bytes, b: widenToFloat32(bDtype, bytes) };
}

/** Rows with something on either side, which is not to be read. */
function padded(matrix: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const stride = columns + 2 * MARGIN;
  const wide = new Float32Array(rows * stride).fill(Number.NaN);
  for (let row = 0; row < rows; row++)
    wide.set(matrix.subarray(row * columns, (row + 1) * columns), row * stride + MARGIN);
  return wide;
}

/** The product by the GPU, with what c held before taken off. */
async function multiply(
  c: Case,
  a: Float32Array,
  b: Float32Array,
  chunk = SMALL_CHUNK,
): Promise<Float32Array> {
  const { m, n, k } = c;
  const sides = { stride: k + 2 * MARGIN, offset: MARGIN };
  const before = randomNormal(m * (n + MARGIN), seededRandom(5));
  using scratch = await createStrassenScratch(test.gpu.memory, { largest: c, chunk });
  using left = await test.upload("a", padded(a, m, k));
  using right = await test.upload("b", narrowFromFloat32(c.bDtype, padded(b, n, k)));
  using result = await test.upload("c", before);
  await matmulStrassen(test.gpu, scratch, {
    ...c,
    a: { buffer: left, ...sides },
    b: { buffer: right, ...sides },
    c: { buffer: result, stride: n + MARGIN },
  });
  const found = await test.readFloats(result);
  const isOwn = (index: number) => index % (n + MARGIN) < n;
  expect(found.filter((_, index) => !isOwn(index))).toEqual(before.filter((_, index) => !isOwn(index)));
  const added = found.map((value, index) => value - (c.accumulate ? (before[index] ?? 0) : 0));
  return added.filter((_, index) => isOwn(index));
}

/** The root mean square of each row, and of what one is off the other there: the largest share of all rows. */
function worstRow(found: Float32Array, wanted: ArrayLike<number>, n: number): number {
  const shares = Array.from({ length: found.length / n }, (_, row) => {
    let [error, size] = [0, 0];
    for (let at = row * n; at < (row + 1) * n; at++) {
      error += ((found[at] ?? 0) - (wanted[at] ?? 0)) ** 2;
      size += (wanted[at] ?? 0) ** 2;
    }
    return Math.sqrt(error / size);
  });
  return Math.max(...shares);
}

function product({ m, n, k, alpha = 1 }: Case, a: Float32Array, b: Float32Array): Float64Array {
  return Float64Array.from({ length: m * n }, (_, index) => {
    const [row, column] = [Math.floor(index / n) * k, (index % n) * k];
    let sum = 0;
    for (let at = 0; at < k; at++) sum += (a[row + at] ?? 0) * (b[column + at] ?? 0);
    return alpha * sum;
  });
}

describe("matmulStrassen", () => {
  it.each<Case>([
    { m: 66, n: 136, k: 96, bDtype: "BF16" },
    { m: 7, n: 24, k: 64, bDtype: "F16", accumulate: true, alpha: 0.5 },
    { m: 258, n: 264, k: 96, bDtype: "F16" },
  ])("agrees with float64 for $m x $n x $k in $bDtype, row for row", async (c) => {
    const { a, b } = operands(c);
    // Rounding of float32 sums, of what c holds already, and by chance of rows that come to little.
    expect(worstRow(await multiply(c, a, b), product(c, a, b), c.n)).toBeLessThan(4e-6);
  });

  it("gives the same bits however many of the weight's rows it takes at once", async () => {
    const c: Case = { m: 6, n: 520, k: 96, bDtype: "BF16" };
    const { a, b } = operands(c);
    expect(await multiply(c, a, b, { ...SMALL_CHUNK, n: 768 })).toEqual(await multiply(c, a, b));
  });

  it("agrees with its reference", async () => {
    const c: Case = { m: 4, n: 8, k: 32, bDtype: "BF16" };
    const { a, b } = operands(c);
    expect(worstRow(await multiply(c, a, b), strassenReference(a, b, c), c.n)).toBeLessThan(5e-7);
  });
});

describe("strassenSizes", () => {
  it("has more of the weight's rows first the fewer tokens a batch has", () => {
    const rows = [8192, 4096, 3000, 2048].map((m) =>
      strassenSizes({ m, n: 1, k: 1 }).map(({ chunk }) => chunk.n),
    );
    expect(rows).toEqual([[4096], [4096], [5632, 4096], [8192, 4096]]);
  });
});

describe("isForStrassen", () => {
  it("takes the large products of a batch alone", () => {
    expect(isForStrassen({ m: 8192, n: 4096, k: 4096 })).toBe(true);
    expect(isForStrassen({ m: 2048, n: 14_336, k: 4096 })).toBe(true);
    expect(isForStrassen({ m: 8192, n: 1024, k: 4096 })).toBe(false);
    expect(isForStrassen({ m: 512, n: 4096, k: 4096 })).toBe(false);
    expect(isForStrassen({ m: 8192, n: 4096, k: 4104 })).toBe(false);
  });
});
