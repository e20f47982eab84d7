import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UploadRing } from "../../../../gpu/staging/upload-ring.ts";
import { attention as describeAttention } from "../../../../model/parts/decoder-parts.ts";
import { relativeError } from "../../../../testing/fixtures/architecture-fixture.ts";
import { openTestGpu, type TestGpu } from "../../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../../testing/random.ts";
import { createBatch } from "../../token-batch.ts";
import { attend, checkHeadDim, attentionColumns, type HeadColumns } from "./attend.ts";
import { referenceAttention } from "./reference.ts";
import type { Attention } from "../../../../model/mixer-description.ts";

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

type Options = Partial<Parameters<typeof describeAttention>[1]>;

function describeHeads(options: Options = {}): Attention {
  const shape = { heads: 4, kvHeads: 2, headDim: 16, hiddenSize: 64, rotary: null };
  return describeAttention("self_attn", { ...shape, ...options });
}

function tokensOf(lengths: readonly number[]): number {
  return lengths.reduce((sum, length) => sum + length, 0);
}

function randomInput(
  attention: Attention,
  lengths: readonly number[],
  deviation = 1,
  { stride }: HeadColumns = attentionColumns(attention),
): Float32Array<ArrayBuffer> {
  return randomNormal(tokensOf(lengths) * stride, seededRandom(7), deviation);
}

/** (tokens, heads · valueDim), without workgroup memory or in tiles. */
async function computeEither(
  attention: Attention,
  qkv: Float32Array,
  lengths: readonly number[],
  columns: HeadColumns | undefined,
  direct: boolean,
): Promise<Float32Array> {
  using batch = await createBatch(test.gpu, uploads, lengths);
  using buffer = await test.upload("qkv", qkv);
  using sinks = attention.sinks === null ? null : await test.upload("sinks", SINKS);
  const own = columns ?? attentionColumns(attention);
  await attend(test.gpu, batch, { attention, qkv: buffer, columns: own, sinks }, direct);
  const whole = await test.readFloats(buffer);
  const width = attention.heads * attention.valueDim;
  return whole.filter((_, index) => {
    const column = (index % own.stride) - own.output;
    return column >= 0 && column < width;
  });
}

function expectedOf(
  attention: Attention,
  qkv: Float32Array,
  lengths: readonly number[],
  columns: HeadColumns = attentionColumns(attention),
): Float64Array {
  return referenceAttention(attention, qkv, lengths, columns, attention.sinks === null ? null : SINKS);
}

const SINKS = Float32Array.of(0.5, 3, -1, 30);

const CASES: readonly [string, readonly number[], Options][] = [
  ["a sequence longer than a tile", [150], {}],
  ["several sequences, some of one token", [3, 64, 1, 65, 30], {}],
  ["a head for each query", [70], { kvHeads: 4 }],
  ["one key head for all", [70], { kvHeads: 1 }],
  ["heads of 20", [66], { headDim: 20 }],
  ["heads of 80", [90], { headDim: 80, heads: 2, kvHeads: 1 }],
  ["heads of 128", [130], { headDim: 128, heads: 2, kvHeads: 1 }],
  ["heads of 256", [70], { headDim: 256, heads: 2, kvHeads: 1 }],
  ["heads of 512, whose values two workgroups share", [40], { headDim: 512, heads: 1, kvHeads: 1 }],
  ["values wider than queries", [70], { valueDim: 40 }],
  ["values narrower than queries, and scaled", [70], { valueDim: 8, valueScale: 0.7 }],
  ["chunks", [70, 3, 150], { chunk: 24 }],
  ["sinks, some larger than every score", [90], { sinks: "sinks", slidingWindow: 16 }],
  ["a temperature", [90], { temperature: { slope: 0.3, every: 7, offset: 1 } }],
  ["a sliding window", [150, 20], { slidingWindow: 16 }],
  ["a window of one token", [70], { slidingWindow: 1 }],
  ["a window longer than the sequence", [70], { slidingWindow: 4096 }],
  ["capped scores", [100], { softCap: 2, scale: 1 }],
];

describe.each([
  ["without workgroup memory", true],
  ["in tiles", false],
] as const)("attention %s", (_form, direct) => {
  const compute = async (
    attention: Attention,
    qkv: Float32Array,
    lengths: readonly number[],
    columns?: HeadColumns,
  ) => await computeEither(attention, qkv, lengths, columns, direct);

  it.each(CASES)("agrees with float64: %s", async (_name, lengths, options) => {
    const attention = describeHeads(options);
    const qkv = randomInput(attention, lengths);
    const expected = expectedOf(attention, qkv, lengths);
    expect(relativeError(await compute(attention, qkv, lengths), expected)).toBeLessThan(5e-6);
  });

  it("keeps its precision where scores are in the hundreds", async () => {
    const attention = describeHeads({ scale: 1 });
    const qkv = randomInput(attention, [100], 8);
    const expected = expectedOf(attention, qkv, [100]);
    // Scores of a few hundred have a unit in the last place of 3e-5.
    expect(relativeError(await compute(attention, qkv, [100]), expected)).toBeLessThan(5e-4);
  });

  it("gives weights that sum to one: equal values come back", async () => {
    const attention = describeHeads({ slidingWindow: 20 });
    const columns = attentionColumns(attention).stride;
    const valuesFrom = (attention.heads + attention.kvHeads) * attention.headDim;
    const qkv = randomInput(attention, [90]).map((value, index) =>
      index % columns < valuesFrom ? value : 3,
    );
    for (const value of await compute(attention, qkv, [90])) expect(value).toBeCloseTo(3, 5);
  });

  it("lets no token see a later one or another sequence", async () => {
    const attention = describeHeads();
    const before = randomInput(attention, [80, 40]);
    const changed = before.slice();
    const from = 50 * attentionColumns(attention).stride;
    changed.set(randomNormal(before.length - from, seededRandom(8)), from);
    const width = attention.heads * attention.headDim;
    const first = await compute(attention, before, [80, 40]);
    const second = await compute(attention, changed, [80, 40]);
    expect(second.subarray(0, 50 * width)).toEqual(first.subarray(0, 50 * width));
    const other = before.slice();
    other.set(randomNormal(from, seededRandom(9)), 0);
    const third = await compute(attention, other, [80, 40]);
    expect(third.subarray(80 * width)).toEqual(first.subarray(80 * width));
  });

  it("takes a part of each key that all heads share, and values between the keys", async () => {
    const attention = describeHeads({ kvHeads: 4, headDim: 24, valueDim: 20 });
    const [queries, perHead] = [4 * 24, 16 + 20];
    const columns: HeadColumns = {
      keys: queries,
      keyStride: perHead,
      ownDim: 16,
      sharedKeys: queries + 4 * perHead,
      values: queries + 16,
      valueStride: perHead,
      output: queries + 4 * perHead + 8,
      stride: queries + 4 * perHead + 8 + 4 * 20,
    };
    const qkv = randomInput(attention, [70, 5], 1, columns);
    const expected = expectedOf(attention, qkv, [70, 5], columns);
    expect(relativeError(await compute(attention, qkv, [70, 5], columns), expected)).toBeLessThan(5e-6);
  });

  it("refuses heads that no model has", () => {
    expect(() => checkHeadDim(describeHeads({ headDim: 2048 }))).toThrow("heads of up to 1024");
  });
});
