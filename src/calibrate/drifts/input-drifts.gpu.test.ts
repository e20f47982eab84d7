import { afterAll, beforeAll, expect, it } from "vitest";
import { invariant } from "../../errors.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { readSquare } from "../../testing/test-gpu/square.ts";
import type { SequenceBatch } from "../batches.ts";
import { driftBytes, keptInputBytes, openInputDrifts } from "./input-drifts.ts";
import { referenceDrift } from "./reference.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const TOKENS = 30;
const OPTIONS = { samples: 2, tokens: TOKENS, maxPanelBytes: 128 * 132 * 4 };
const BATCH = {} as SequenceBatch;
const capture = { modules: ["q", "k"], columns: 130 };

it("adds up what inputs have drifted over batches and parts of them, to 1e-5, in the memory that the plan has for it", async () => {
  const { columns: n } = capture;
  const stride = 140;
  const random = seededRandom(7);
  const original = randomNormal(2 * TOKENS * n, random);
  const quantized = original.map((value) => value + 0.1 * (random() - 0.5));
  const padded = (values: Float32Array) => {
    const rows = new Float32Array(4 + 2 * TOKENS * stride);
    values.forEach((value, at) => {
      rows[4 + Math.floor(at / n) * stride + (at % n)] = value;
    });
    return rows;
  };
  using before = await test.upload("original", padded(original));
  using after = await test.upload("quantized", padded(quantized));
  const live = () => test.gpu.memory.live().reduce((sum, { bytes }) => sum + bytes, 0);
  const least = live();
  using drifts = await openInputDrifts(test.gpu, [capture], OPTIONS);
  const planned = driftBytes([capture], OPTIONS.maxPanelBytes) + keptInputBytes([capture], TOKENS);
  expect(live() - least).toBe(planned);
  const rowsOf = (buffer: LedgerBuffer, first: number, rows: number) => ({
    buffer,
    rows,
    columns: n,
    stride,
    offset: 4 + first * stride,
  });
  for (const first of [0, TOKENS]) {
    for (const [collector, buffer] of [
      [drifts.keep, before],
      [drifts.compare, after],
    ] as const) {
      collector.begin?.(BATCH);
      await collector.onInput?.(["k"], rowsOf(buffer, first, 17));
      await collector.onInput?.(["unknown"], rowsOf(buffer, first, 3));
      await collector.onInput?.(["k"], rowsOf(buffer, first + 17, TOKENS - 17));
    }
  }
  await test.gpu.queue.idle();
  drifts.finish();
  const matrix = drifts.drift(capture);
  invariant(matrix, "the drift of the capture is wanted");
  const found = await readSquare(test, matrix);
  const expected = referenceDrift(original, quantized, n, OPTIONS.samples);
  const scale = Math.max(...expected.map(Math.abs));
  const worst = Math.max(...expected.map((value, at) => Math.abs(value - (found[at] ?? 0)))) / scale;
  expect(worst).toBeLessThan(1e-5);
  expect(drifts.drift({ modules: ["k"], columns: 3 })).toBeNull();
});
