import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import { relativeError } from "../../../testing/fixtures/architecture-fixture.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { createBatch } from "../token-batch.ts";
import { decayGates } from "./decay-gates.ts";
import { referenceGates, referenceScan } from "./reference.ts";
import { scan } from "./scan.ts";
import { scanColumns, type ScanShape } from "./scan-layout.ts";

let test: TestGpu;
let uploads: UploadRing;
beforeAll(async () => {
  test = await openTestGpu();
  uploads = await UploadRing.create(test.gpu, { pieceBytes: 65_536, pieces: 1 });
});
afterAll(() => {
  uploads[Symbol.dispose]();
  test[Symbol.dispose]();
});

function layoutOf(shape: ScanShape) {
  const keyColumns = shape.keyHeads * shape.keyDim;
  const values = 2 * keyColumns;
  const { end, ...columns } = scanColumns(shape, values + shape.heads * shape.valueDim);
  return { stride: end + 4, columns: { queries: 0, keys: keyColumns, values, ...columns } };
}

/** A run of columns of every row. */
function columnsOf(x: Float32Array, stride: number, first: number, count: number): number[] {
  return Array.from(x).filter((_, index) => index % stride >= first && index % stride < first + count);
}

/** Rows with keys of length one for the delta rule, decays of some percent and factors between 0 and 1. */
function randomRows(shape: ScanShape, tokens: number, seed: number): Float32Array<ArrayBuffer> {
  const { stride, columns } = layoutOf(shape);
  const random = seededRandom(seed);
  const x = randomNormal(tokens * stride, random);
  for (let token = 0; token < tokens; token++) {
    const row = x.subarray(token * stride, (token + 1) * stride);
    for (let at = columns.keys; at < columns.values; at++) {
      row[at] = (row[at] ?? 0) / Math.sqrt(shape.keyDim);
    }
    for (let head = 0; head < shape.heads; head++) {
      row[columns.gates + head] = -0.3 * random() ** 3;
      row[columns.gates + shape.heads + head] = random();
    }
  }
  return x;
}

const SKIP = [0.5, -1, 2, 0.25];

async function compute(shape: ScanShape, x: Float32Array, lengths: readonly number[]) {
  const { stride, columns } = layoutOf(shape);
  const { heads, keyHeads, keyDim, valueDim, delta } = shape;
  using batch = await createBatch(test.gpu, uploads, lengths);
  using buffer = await test.upload("x", x);
  using skip = delta ? null : await test.upload("skip", Float32Array.from(SKIP));
  await scan(test.gpu, batch, { shape, x: buffer, stride, columns, queryScale: 0.5, keyScale: 0.9, skip });
  const part = (first: number, count: number) => columnsOf(x, stride, first, count);
  const expected = referenceScan(
    {
      shape,
      queries: part(columns.queries, keyHeads * keyDim).map((value) => value * 0.5),
      keys: part(columns.keys, keyHeads * keyDim).map((value) => value * 0.9),
      values: part(columns.values, heads * valueDim),
      decays: part(columns.gates, heads),
      factors: part(columns.gates + heads, heads),
      skip: delta ? null : SKIP,
    },
    lengths,
  );
  const actual = columnsOf(await test.readFloats(buffer), stride, columns.values, heads * valueDim);
  return { actual, expected };
}

const small = { heads: 4, keyHeads: 2, keyDim: 20, valueDim: 24 };
const CASES: readonly [string, ScanShape, readonly number[]][] = [
  ["the delta rule over several sequences", { ...small, delta: true }, [1, 70, 32, 33]],
  ["Mamba-2 over several sequences", { ...small, delta: false }, [1, 70, 32, 33]],
  ["keys of 256", { heads: 1, keyHeads: 1, keyDim: 256, valueDim: 12, delta: true }, [40]],
];

describe("the chunked recurrence", () => {
  it.each(CASES)("agrees with float64, token by token: %s", async (_name, shape, lengths) => {
    const tokens = lengths.reduce((sum, length) => sum + length, 0);
    const { actual, expected } = await compute(shape, randomRows(shape, tokens, 3), lengths);
    expect(relativeError(actual, expected)).toBeLessThan(5e-6);
  });

  it("keeps what little of the token before is left where a state decays fast", async () => {
    const shape = { heads: 1, keyHeads: 1, keyDim: 4, valueDim: 4, delta: true };
    const { stride, columns } = layoutOf(shape);
    const x = randomRows(shape, 64, 3);
    for (let token = 0; token < 64; token++) {
      const row = x.subarray(token * stride, (token + 1) * stride);
      // A query asks for the token before and for none of the others of its kind: their shares differ by e^-24.
      const [asked, own] = token % 2 === 0 ? [1, 0] : [0, 1];
      row.set([asked, own, 0, 0], columns.queries);
      row.set([own, asked, 0, 0], columns.keys);
      row[columns.gates] = -12.1;
    }
    const { actual, expected } = await compute(shape, x, [64]);
    const ratios = actual.map((value, index) => value / (expected[index] ?? 0)).slice(shape.valueDim);
    expect(Math.max(...ratios.map((ratio) => Math.abs(ratio - 1)))).toBeLessThan(3e-6);
  });

  it("lets no token see a later one or another sequence", async () => {
    const shape = { ...small, delta: true };
    const { stride } = layoutOf(shape);
    const before = randomRows(shape, 100, 3);
    const changed = before.slice();
    changed.set(randomRows(shape, 20, 4), 40 * stride);
    const first = (await compute(shape, before, [60, 40])).actual;
    const second = (await compute(shape, changed, [60, 40])).actual;
    const width = shape.heads * shape.valueDim;
    expect(second.slice(0, 40 * width)).toEqual(first.slice(0, 40 * width));
    expect(second.slice(60 * width)).toEqual(first.slice(60 * width));
  });

  it("stays finite where a state decays to nothing within a chunk", async () => {
    const shape = { ...small, delta: false };
    const { stride, columns } = layoutOf(shape);
    const x = randomRows(shape, 64, 3);
    for (let row = 0; row < 64; row++) x[row * stride + columns.gates] = -90;
    const { actual, expected } = await compute(shape, x, [64]);
    expect(relativeError(actual, expected)).toBeLessThan(5e-6);
  });
});

describe("the gates of a recurrence", () => {
  const [tokens, heads, stride] = [9, 4, 20];
  const decay = [-1, 0, 1, 2];
  const bias = [0.5, -6, 1, -0.5];

  it.each([
    ["Mamba-2", null, { perGroup: 4, stride: 0 }, { least: 0.001, largest: 0.1 }],
    ["the delta rule", 0, { perGroup: 2, stride: 4 }, undefined],
  ] as const)("agree with float64: %s", async (_name, betas, groups, limits) => {
    const x = randomNormal(tokens * stride, seededRandom(6), 3);
    x[2] = 30;
    const timeSteps = betas === null ? 0 : 2;
    using buffer = await test.upload("x", x);
    using decays = await test.upload("decay", Float32Array.from(decay));
    using biases = await test.upload("bias", Float32Array.from(bias));
    await decayGates(test.gpu, {
      x: buffer,
      tokens,
      stride,
      heads,
      timeSteps,
      betas,
      groups,
      gates: 8,
      decay: decays,
      bias: biases,
      ...(limits ? { limits } : {}),
    });
    const result = await test.readFloats(buffer);
    for (let item = 0; item < tokens * heads; item++) {
      const [row, head] = [Math.floor(item / heads) * stride, item % heads];
      const column = Math.floor(head / groups.perGroup) * groups.stride + (head % groups.perGroup);
      const expected = referenceGates({
        timeStep: x[row + timeSteps + column] ?? 0,
        beta: betas === null ? null : (x[row + betas + column] ?? 0),
        decay: decay[head] ?? 0,
        bias: bias[head] ?? 0,
        ...(limits ? { limits } : {}),
      });
      const [logarithm = 0, factor = 0] = [result[row + 8 + head], result[row + 8 + heads + head]];
      expect(Math.abs(logarithm / expected.decay - 1)).toBeLessThan(4e-6);
      expect(Math.abs(factor / expected.factor - 1)).toBeLessThan(4e-6);
    }
  });
});
