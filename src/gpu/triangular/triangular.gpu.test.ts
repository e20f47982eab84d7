import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { readTriangle, uploadTriangle } from "../../testing/test-gpu/triangle.ts";
import { allocatePanels } from "../panels.ts";
import { ReadbackRing } from "../staging/readback-ring.ts";
import { allocateCholeskyScratch } from "./cholesky-scratch.ts";
import { cholesky } from "./cholesky.ts";
import { undoCholesky } from "./undo-cholesky.ts";
import { addToDiagonal, readDiagonal } from "./diagonal.ts";
import { permuteSymmetric } from "./permute-symmetric.ts";
import { symmetricRankKUpdate } from "./symmetric-rank-k-update.ts";
import { layOutTriangle, type TriangularMatrix } from "./triangular-matrix.ts";

let test: TestGpu;
let readbacks: ReadbackRing;
beforeAll(async () => {
  test = await openTestGpu();
  readbacks = await ReadbackRing.create(test.gpu, { pieceBytes: 1024, pieces: 1 });
});
afterAll(() => {
  readbacks[Symbol.dispose]();
  test[Symbol.dispose]();
});

/** XᵀX of a random X (rows, n), in float64, full square. */
function gram(x: Float32Array, rows: number, n: number): Float64Array {
  const result = new Float64Array(n * n);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < n; i++) {
      const left = x[row * n + i] ?? 0;
      for (let j = 0; j <= i; j++)
        result[i * n + j] = (result[i * n + j] ?? 0) + left * (x[row * n + j] ?? 0);
    }
  }
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) result[j * n + i] = result[i * n + j] ?? 0;
  return result;
}

/** Textbook Cholesky in float64. */
function referenceCholesky(h: Float64Array, n: number): Float64Array {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = h[i * n + j] ?? 0;
      for (let k = 0; k < j; k++) sum -= (l[i * n + k] ?? 0) * (l[j * n + k] ?? 0);
      l[i * n + j] = i === j ? Math.sqrt(sum) : sum / (l[j * n + j] ?? 1);
    }
  }
  return l;
}

function relativeError(actual: Float64Array, expected: Float64Array): number {
  const difference = actual.reduce((sum, value, index) => sum + (value - (expected[index] ?? 0)) ** 2, 0);
  return Math.sqrt(difference / expected.reduce((sum, value) => sum + value ** 2, 0));
}

function lower(full: Float64Array, n: number): Float64Array {
  return full.map((value, index) => (index % n <= Math.floor(index / n) ? value : 0));
}

async function factor(matrix: TriangularMatrix): Promise<number | null> {
  using scratch = await allocateCholeskyScratch(test.gpu, matrix.layout.n);
  return await (
    await cholesky(test.gpu, matrix, scratch, readbacks)
  ).failedRow;
}

describe("symmetricRankKUpdate", () => {
  it.each([
    [96, 40],
    [300, 17],
    [130, 129],
    [8, 4099],
  ])("adds XᵀX of order %i from %i rows", async (n, rows) => {
    const stride = Math.ceil(n / 4) * 4;
    const x = new Float32Array(rows * stride);
    const dense = randomNormal(rows * n, seededRandom(n));
    for (let row = 0; row < rows; row++) x.set(dense.subarray(row * n, (row + 1) * n), row * stride);
    using xBuffer = await test.upload("x", x);
    using matrix = await allocatePanels(test.gpu.memory, "H", layOutTriangle(n, 200_000));
    for (let pass = 0; pass < 2; pass++) {
      await symmetricRankKUpdate(test.gpu, matrix, { buffer: xBuffer, stride, rows }, { alpha: 0.5 });
    }
    expect(relativeError(await readTriangle(test, matrix), lower(gram(dense, rows, n), n))).toBeLessThan(
      1e-6,
    );
  });
});

describe("permuteSymmetric", () => {
  it.each([
    [5, 1],
    [200, 2],
    [385, 3],
  ])("reorders a matrix of order %i over several panels", async (n, seed) => {
    const random = seededRandom(seed);
    const full = gram(randomNormal(20 * n, random), 20, n).map(Math.fround);
    const order = Uint32Array.from({ length: n }, (_, index) => index).toSorted(() => random() - 0.5);
    using matrix = await uploadTriangle(test, full, n, 200_000);
    using partner = await test.empty("partner", n * 4);
    using unused = await test.empty("unused", 16);
    await permuteSymmetric(test.gpu, matrix, order, { partner, unused }, async (bytes) => {
      using staged = await test.upload("involution", bytes);
      await test.gpu.queue.copy({ of: staged, offset: 0 }, { of: partner, offset: 0 }, n * 4);
      await test.gpu.queue.idle();
    });
    const expected = full.map((_, index) => {
      const [row, column] = [order[Math.floor(index / n)] ?? 0, order[index % n] ?? 0];
      return full[row * n + column] ?? 0;
    });
    expect(await readTriangle(test, matrix)).toEqual(lower(expected, n));
  });
});

describe("diagonal", () => {
  it("is read and added to over panels", async () => {
    const n = 300;
    const full = gram(randomNormal(4 * n, seededRandom(4)), 4, n).map(Math.fround);
    using matrix = await uploadTriangle(test, full, n, 200_000);
    using diagonal = await test.empty("diagonal", n * 4);
    await readDiagonal(test.gpu, matrix, diagonal);
    const before = await test.readFloats(diagonal);
    expect(before).toEqual(Float32Array.from({ length: n }, (_, i) => full[i * n + i] ?? 0));
    await addToDiagonal(test.gpu, matrix, diagonal);
    await readDiagonal(test.gpu, matrix, diagonal);
    expect(await test.readFloats(diagonal)).toEqual(before.map((value) => value * 2));
  });
});

describe("cholesky", () => {
  it.each([1, 7, 64, 65, 200, 385])("agrees with float64 for order %i", async (n) => {
    const h = gram(randomNormal(2 * n * n, seededRandom(n)), 2 * n, n);
    for (let i = 0; i < n; i++) h[i * n + i] = (h[i * n + i] ?? 0) + 0.02 * n;
    using matrix = await uploadTriangle(test, h, n, 200_000);
    expect(await factor(matrix)).toBeNull();
    expect(relativeError(await readTriangle(test, matrix), referenceCholesky(h, n))).toBeLessThan(2e-5);
  });

  it("factors a nearly singular Gram matrix of order 256 from 30 rows with 1 % damping", async () => {
    const n = 256;
    const h = gram(randomNormal(30 * n, seededRandom(5)), 30, n);
    const damping = (0.01 * h.reduce((sum, value, i) => sum + (i % (n + 1) === 0 ? value : 0), 0)) / n;
    for (let i = 0; i < n; i++) h[i * n + i] = (h[i * n + i] ?? 0) + damping;
    using matrix = await uploadTriangle(test, h, n, 200_000);
    expect(await factor(matrix)).toBeNull();
    const l = await readTriangle(test, matrix);
    const product = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let k = 0; k <= Math.min(i, j); k++) sum += (l[i * n + k] ?? 0) * (l[j * n + k] ?? 0);
        product[i * n + j] = sum;
      }
    }
    expect(relativeError(product, h)).toBeLessThan(1e-6);
  });

  it("reports the row of the first pivot that is not positive", async () => {
    const n = 150;
    const h = new Float64Array(n * n);
    for (let i = 0; i < n; i++) h[i * n + i] = i === 97 ? -1 : 2;
    using matrix = await uploadTriangle(test, h, n, 200_000);
    expect(await factor(matrix)).toBe(97);
  });

  it.each([
    ["in the first block", 200, 3],
    ["behind whole blocks and a whole strip", 385, 330],
    ["in the last row", 257, 256],
  ])("is undone after a pivot that fails %s", async (_, n, failing) => {
    const h = gram(randomNormal(2 * n * n, seededRandom(n)), 2 * n, n).map(Math.fround);
    h[failing * n + failing] = -1;
    using matrix = await uploadTriangle(test, h, n, 256 * n * 4);
    using scratch = await allocateCholeskyScratch(test.gpu, n);
    const { failedRow } = await cholesky(test.gpu, matrix, scratch, readbacks);
    expect(await failedRow).toBe(failing);
    await undoCholesky(test.gpu, matrix, scratch, failing);
    expect(relativeError(await readTriangle(test, matrix), lower(h, n))).toBeLessThan(1e-6);
    h[failing * n + failing] = 5 * n;
    using more = await test.upload(
      "more",
      Float32Array.from({ length: n }, (__, i) => (i === failing ? 5 * n + 1 : 0)),
    );
    await addToDiagonal(test.gpu, matrix, more);
    const again = await cholesky(test.gpu, matrix, scratch, readbacks);
    expect(await again.failedRow).toBeNull();
    expect(relativeError(await readTriangle(test, matrix), referenceCholesky(h, n))).toBeLessThan(2e-5);
  });

  it("reproduces H v for order 1,100 in three panels", async () => {
    const n = 1100;
    const rows = 24;
    const x = randomNormal(rows * n, seededRandom(6));
    using xBuffer = await test.upload("x", x);
    using matrix = await allocatePanels(test.gpu.memory, "H", layOutTriangle(n, 512 * n * 4));
    expect(matrix.layout.panels).toHaveLength(3);
    await symmetricRankKUpdate(test.gpu, matrix, { buffer: xBuffer, stride: n, rows }, { alpha: 1 });
    using damping = await test.upload("damping", new Float32Array(n).fill(2));
    await addToDiagonal(test.gpu, matrix, damping);
    expect(await factor(matrix)).toBeNull();
    const l = await readTriangle(test, matrix);
    const v = Float64Array.from(randomNormal(n, seededRandom(7)));
    const transposed = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) transposed[j] = (transposed[j] ?? 0) + (l[i * n + j] ?? 0) * (v[i] ?? 0);
    }
    const product = Float64Array.from(v, (_, i) => {
      let sum = 0;
      for (let j = 0; j <= i; j++) sum += (l[i * n + j] ?? 0) * (transposed[j] ?? 0);
      return sum;
    });
    const expected = v.map((value) => 2 * value);
    for (let row = 0; row < rows; row++) {
      let dot = 0;
      for (let i = 0; i < n; i++) dot += (x[row * n + i] ?? 0) * (v[i] ?? 0);
      for (let i = 0; i < n; i++) expected[i] = (expected[i] ?? 0) + dot * (x[row * n + i] ?? 0);
    }
    expect(relativeError(product, expected)).toBeLessThan(1e-5);
  });
});
