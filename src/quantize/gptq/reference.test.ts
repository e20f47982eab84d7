import { describe, expect, it } from "vitest";
import { roundHalfToEven } from "../../formats/numbers/dtype.ts";
import { quantizedRange, weightArgs } from "../../formats/schemes/quantization-args.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { hessianWeightedError, referenceGptq } from "./reference.ts";

const args = weightArgs({ num_bits: 4, strategy: "channel" });

function dampedGram(n: number, tokens: number, seed: number): Float64Array {
  const x = randomNormal(tokens * n, seededRandom(seed));
  const h = new Float64Array(n * n);
  for (let token = 0; token < tokens; token++) {
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        h[i * n + j] = (h[i * n + j] ?? 0) + 2 * (x[token * n + i] ?? 0) * (x[token * n + j] ?? 0);
      }
    }
  }
  const mean = h.reduce((sum, value, index) => sum + (index % (n + 1) === 0 ? value : 0), 0) / n;
  for (let i = 0; i < n; i++) h[i * n + i] = (h[i * n + i] ?? 0) + 0.01 * mean;
  return h;
}

/** Gauss-Jordan inverse. */
function inverse(matrix: Float64Array, n: number): Float64Array {
  const a = matrix.slice();
  const result = new Float64Array(n * n);
  for (let i = 0; i < n; i++) result[i * n + i] = 1;
  for (let column = 0; column < n; column++) {
    const pivot = a[column * n + column] ?? 1;
    for (let j = 0; j < n; j++) {
      a[column * n + j] = (a[column * n + j] ?? 0) / pivot;
      result[column * n + j] = (result[column * n + j] ?? 0) / pivot;
    }
    for (let i = 0; i < n; i++) {
      const factor = i === column ? 0 : (a[i * n + column] ?? 0);
      if (factor === 0) continue;
      for (let j = 0; j < n; j++) {
        a[i * n + j] = (a[i * n + j] ?? 0) - factor * (a[column * n + j] ?? 0);
        result[i * n + j] = (result[i * n + j] ?? 0) - factor * (result[column * n + j] ?? 0);
      }
    }
  }
  return result;
}

/** U upper triangular with UᵀU = matrix. */
function upperCholesky(matrix: Float64Array, n: number): Float64Array {
  const u = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = i; j < n; j++) {
      let sum = matrix[i * n + j] ?? 0;
      for (let k = 0; k < i; k++) sum -= (u[k * n + i] ?? 0) * (u[k * n + j] ?? 0);
      u[i * n + j] = i === j ? Math.sqrt(sum) : sum / (u[i * n + i] ?? 1);
    }
  }
  return u;
}

/** The algorithm as published (arXiv 2210.17323, algorithm 1), with the inverse. */
function publishedGptq(
  weights: Float64Array,
  h: Float64Array,
  order: Uint32Array,
  rows: number,
  scale: number,
) {
  const n = order.length;
  const permuted = h.map(
    (_, index) => h[(order[Math.floor(index / n)] ?? 0) * n + (order[index % n] ?? 0)] ?? 0,
  );
  const u = upperCholesky(inverse(permuted, n), n);
  const [min, max] = quantizedRange(args);
  const codes = new Int32Array(rows * n);
  for (let row = 0; row < rows; row++) {
    const w = Float64Array.from(order, (column) => weights[row * n + column] ?? 0);
    for (let i = 0; i < n; i++) {
      const code = roundHalfToEven(Math.min(Math.max((w[i] ?? 0) / scale, min), max));
      codes[row * n + (order[i] ?? 0)] = code;
      const error = ((w[i] ?? 0) - Math.fround(code * scale)) / (u[i * n + i] ?? 1);
      for (let j = i; j < n; j++) w[j] = (w[j] ?? 0) - error * (u[i * n + j] ?? 0);
    }
  }
  return codes;
}

describe("GPTQ with one factorisation", () => {
  it.each([8, 33, 64])("chooses the codes of the published form, order %i", (n) => {
    const rows = 6;
    const h = dampedGram(n, 3 * n, n);
    const weights = Float64Array.from(randomNormal(rows * n, seededRandom(n + 1)));
    const quantizeOrder = Uint32Array.from({ length: n }, (_, i) => i).toSorted(
      (a, b) => (h[b * n + b] ?? 0) - (h[a * n + a] ?? 0),
    );
    const scale = Math.fround(0.31);
    const { codes, loss } = referenceGptq({
      weights,
      dtype: "F32",
      rows,
      n,
      hessian: h,
      order: quantizeOrder,
      args,
      qparams: () => ({ scale, zeroPoint: 0 }),
    });
    expect(codes).toEqual(publishedGptq(weights, h, quantizeOrder, rows, scale));
    const delta = weights.map((weight, index) => weight - Math.fround((codes[index] ?? 0) * scale));
    expect(loss / hessianWeightedError(delta, h, rows, n)).toBeCloseTo(1, 9);
  });
});
