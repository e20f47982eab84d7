import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import { attention as describeAttention } from "../../../model/parts/decoder-parts.ts";
import { relativeError } from "../../../testing/fixtures/architecture-fixture.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { attentionColumns } from "../mixers/attention/attend.ts";
import { createBatch } from "../token-batch.ts";
import { referenceRotary } from "./reference.ts";
import { rotate } from "./rotate.ts";
import { createRotaryTable } from "./rotary-table.ts";
import type { Attention, Rotary } from "../../../model/mixer-description.ts";

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

function rotaryOf(options: Partial<Rotary> = {}): Rotary {
  return {
    theta: 10_000,
    dims: 16,
    interleaved: false,
    attentionFactor: 1,
    scaling: { type: "default" },
    ...options,
  };
}

type Rotated = Attention & { readonly rotary: Rotary };

function headsOf(rotary: Rotary): Rotated {
  const shape = { heads: 4, kvHeads: 2, headDim: 16, hiddenSize: 64, rotary };
  return { ...describeAttention("self_attn", shape), rotary };
}

const LENGTHS = [3, 40, 1, 90];
const TOKENS = 134;

async function compute(attention: Rotated, qkv: Float32Array, lengths = LENGTHS): Promise<Float32Array> {
  using batch = await createBatch(test.gpu, uploads, lengths);
  using table = await createRotaryTable(test.gpu, uploads, attention.rotary, 100);
  using buffer = await test.upload("qkv", qkv);
  const { stride } = attentionColumns(attention);
  const heads = attention.heads + attention.kvHeads;
  const run = { buffer, stride, column: 0, heads, headStride: attention.headDim };
  await rotate(test.gpu, attention.rotary, run, batch, table);
  return await test.readFloats(buffer);
}

const longrope = {
  type: "longrope",
  originalMaxPositions: 64,
  shortFactors: Array.from({ length: 8 }, (_, index) => 1 + index / 8),
  longFactors: Array.from({ length: 8 }, (_, index) => 2 + index),
} as const;

const CASES: readonly [string, Rotary][] = [
  ["halves", rotaryOf()],
  ["neighbouring pairs", rotaryOf({ interleaved: true })],
  ["a part of each head", rotaryOf({ dims: 4 })],
  ["an attention factor", rotaryOf({ attentionFactor: 1.25 })],
  ["long and short sequences with frequencies of their own", rotaryOf({ scaling: longrope })],
];

describe("rotary embedding", () => {
  it.each(CASES)("agrees with float64: %s", async (_name, rotary) => {
    const attention = headsOf(rotary);
    const qkv = randomNormal(TOKENS * attentionColumns(attention).stride, seededRandom(5));
    const { heads, kvHeads, headDim } = attention;
    const isRotated = (_: number, index: number) =>
      index % attentionColumns(attention).stride < (heads + kvHeads) * headDim;
    const run = { heads: heads + kvHeads, headDim, first: 0 };
    const expected = referenceRotary(rotary, run, qkv.filter(isRotated), LENGTHS);
    // Angles of 90 radians have a unit in the last place of 8e-6.
    const actual = (await compute(attention, qkv)).filter(isRotated);
    expect(relativeError(actual, expected)).toBeLessThan(2e-5);
  });

  it("keeps lengths, first tokens and values", async () => {
    const attention = headsOf(rotaryOf());
    const columns = attentionColumns(attention).stride;
    const qkv = randomNormal(TOKENS * columns, seededRandom(6));
    const result = await compute(attention, qkv);
    expect(result.subarray(0, columns)).toEqual(qkv.subarray(0, columns));
    const values = (all: Float32Array) => all.filter((_, index) => index % columns >= 96);
    expect(values(result)).toEqual(values(qkv));
    const squares = (all: Float32Array) =>
      Float32Array.from({ length: TOKENS * 6 }, (_, index) => {
        const start = Math.floor(index / 6) * columns + (index % 6) * 16;
        return all.subarray(start, start + 16).reduce((sum, value) => sum + value * value, 0);
      });
    expect(relativeError(squares(result), squares(qkv))).toBeLessThan(1e-5);
  });
});
