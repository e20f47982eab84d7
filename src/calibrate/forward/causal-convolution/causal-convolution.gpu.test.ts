import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import { relativeError } from "../../../testing/fixtures/architecture-fixture.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { createBatch } from "../token-batch.ts";
import { checkTaps, convolve } from "./convolve.ts";
import { referenceConvolution } from "./reference.ts";

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

const LENGTHS = [1, 21, 8, 3];
const TOKENS = 33;
const CHANNELS = 70;
const STRIDE = 3 * CHANNELS + 6;
const COLUMN = 4;

interface Case {
  readonly taps: number;
  readonly biased: boolean;
  readonly silu: boolean;
  readonly gated: boolean;
}

/** Columns COLUMN … of a third of the row: the convolved ones, then the factors before and after. */
async function compute({ taps, biased, silu, gated }: Case, x: Float32Array, lengths: readonly number[]) {
  const random = seededRandom(2);
  const weights = randomNormal(CHANNELS * taps, random);
  const biases = biased ? randomNormal(CHANNELS, random) : null;
  using batch = await createBatch(test.gpu, uploads, lengths);
  using buffer = await test.upload("x", x);
  using weight = await test.upload("weight", weights);
  using bias = biases ? await test.upload("bias", biases) : null;
  await convolve(test.gpu, batch, {
    x: buffer,
    stride: STRIDE,
    column: COLUMN,
    channels: CHANNELS,
    taps,
    weight,
    bias,
    silu,
    ...(gated ? { factors: { before: COLUMN + CHANNELS, after: COLUMN + 2 * CHANNELS } } : {}),
  });
  const whole = await test.readFloats(buffer);
  const part = (from: ArrayLike<number>, third: number) =>
    Array.from(from).filter((_, index) => {
      const column = (index % STRIDE) - COLUMN - third * CHANNELS;
      return column >= 0 && column < CHANNELS;
    });
  const [before, after] = [part(x, 1), part(x, 2)];
  const input = part(x, 0).map((value, index) => (gated ? value * (before[index] ?? 0) : value));
  const convolved = referenceConvolution(
    { channels: CHANNELS, taps, weight: weights, bias: biases, silu },
    input,
    lengths,
  );
  const expected = convolved.map((value, index) => (gated ? value * (after[index] ?? 0) : value));
  return { actual: part(whole, 0), expected, untouched: [part(whole, 1), part(whole, 2)], before, after };
}

const CASES: readonly [string, Case][] = [
  ["four taps and silu", { taps: 4, biased: false, silu: true, gated: false }],
  ["a bias", { taps: 4, biased: true, silu: false, gated: false }],
  ["factors before and after", { taps: 3, biased: false, silu: false, gated: true }],
  ["one tap", { taps: 1, biased: true, silu: true, gated: false }],
  ["eight taps", { taps: 8, biased: false, silu: false, gated: false }],
];

describe("the causal convolution", () => {
  const x = randomNormal(TOKENS * STRIDE, seededRandom(1));

  it.each(CASES)("agrees with float64: %s", async (_name, c) => {
    const { actual, expected, untouched, before, after } = await compute(c, x, LENGTHS);
    expect(relativeError(actual, expected)).toBeLessThan(2e-6);
    expect(untouched).toEqual([before, after]);
  });

  it("lets no token see a later one or another sequence", async () => {
    const c = { taps: 4, biased: true, silu: true, gated: false };
    const changed = x.slice();
    changed.set(randomNormal(12 * STRIDE, seededRandom(5)), 10 * STRIDE);
    const first = (await compute(c, x, LENGTHS)).actual;
    const second = (await compute(c, changed, LENGTHS)).actual;
    expect(second.slice(0, 10 * CHANNELS)).toEqual(first.slice(0, 10 * CHANNELS));
    expect(second.slice(22 * CHANNELS)).toEqual(first.slice(22 * CHANNELS));
  });

  it("refuses more taps than it keeps", () => {
    expect(() => checkTaps("model.layers.0.conv", 9)).toThrow("over up to 8");
  });
});
