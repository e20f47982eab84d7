import { describe, expect, it } from "vitest";
import {
  logSoftmax,
  type MeasuredFixture,
  openMeasured,
  predicted,
} from "../../../testing/fixtures/measured-fixture.ts";
import { createGpu } from "../../../gpu/gpu.ts";
import { openTestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { measureForward } from "./measure-forward.ts";

function repeated(fixture: MeasuredFixture, times: number): MeasuredFixture {
  return { ...fixture, sequences: Array.from({ length: times }, () => fixture.sequences).flat() };
}

const MIB = 1024 ** 2;
/** Of one model, and of two. */
const LARGE = { budgets: [64 * MIB, 64 * MIB], repeats: 1 } as const;
/** The sequences twice: more than the smallest budgets hold at once. */
const TINY = { budgets: [776 * 1024, 816 * 1024], repeats: 2 } as const;

async function measure(budgetBytes: number, own: MeasuredFixture, original: MeasuredFixture | null) {
  using test = await openTestGpu();
  // A ledger that holds nothing of the test's own.
  using gpu = await createGpu(test.gpu.device, test.gpu.adapter, budgetBytes);
  const before = gpu.memory.bytes;
  const quality = await measureForward({
    gpu,
    model: own.model,
    original: original?.model ?? null,
    sequences: own.sequences,
    watch: { tokens: 9, layers: [], logits: { tokens: 4, ids: 8 }, weightBytes: 0 },
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
  return { ...quality, leftBytes: gpu.memory.bytes - before, peakBytes: gpu.memory.peakBytes };
}

describe.each([
  { how: "in a large budget", ...LARGE },
  // Hidden states wait in host memory, Linears come in tiles, the head's 256 rows in parts, sequences in two batches.
  { how: "in a tiny budget", ...TINY },
])("quality by the forward pass of calibration, $how,", ({ budgets: [alone, beside], repeats }) => {
  it("is what PyTorch's logits say", async () => {
    const fixture = await openMeasured("llama");
    const { model, original, divergence, leftBytes } = await measure(alone, repeated(fixture, repeats), null);
    const expected = logSoftmax(fixture.logits, 256);
    let loss = 0;
    for (const { row, target } of predicted(fixture.sequences)) loss -= expected[row]?.[target] ?? 0;
    expect(model.tokens).toBe(94 * repeats);
    expect(Math.abs(model.loss / (loss * repeats) - 1)).toBeLessThan(1e-6);
    expect([original, divergence]).toEqual([null, null]);
    expect(leftBytes).toBe(0);
  });

  it("between two models is the divergence of their logits, within the budget", async () => {
    const [own, other] = [await openMeasured("llama-bias"), await openMeasured("llama")];
    const quality = await measure(beside, repeated(own, repeats), other);
    const [q, p] = [logSoftmax(own.logits, 256), logSoftmax(other.logits, 256)];
    let [kl, worst, equal, loss] = [0, 0, 0, 0];
    for (const { row, target } of predicted(own.sequences)) {
      const [ps, qs] = [p[row] ?? [], q[row] ?? []];
      const each = ps.reduce((sum, logP, at) => sum + Math.exp(logP) * (logP - (qs[at] ?? 0)), 0);
      kl += each;
      worst = Math.max(worst, each);
      equal += Number(ps.indexOf(Math.max(...ps)) === qs.indexOf(Math.max(...qs)));
      loss -= ps[target] ?? 0;
    }
    expect(Math.abs((quality.divergence?.kl ?? 0) / (kl * repeats) - 1)).toBeLessThan(1e-5);
    expect(Math.abs((quality.divergence?.worstKl ?? 0) / worst - 1)).toBeLessThan(1e-5);
    expect(quality.divergence?.equalGreedy).toBe(equal * repeats);
    expect(Math.abs((quality.original?.loss ?? 0) / (loss * repeats) - 1)).toBeLessThan(1e-6);
    expect(quality.layers.every(({ relativeError }) => relativeError > 0.01)).toBe(true);
    expect(quality.peakBytes).toBeLessThanOrEqual(beside);
    expect(quality.leftBytes).toBe(0);
  });

  it("between a model and itself is no divergence at all", async () => {
    const fixture = await openMeasured("llama");
    const own = repeated(fixture, repeats);
    const { divergence, layers, model, original } = await measure(beside, own, fixture);
    const tokens = 94 * repeats;
    expect(divergence).toEqual({ tokens, kl: 0, worstKl: 0, equalGreedy: tokens });
    expect(layers.map(({ relativeError }) => relativeError)).toEqual(layers.map(() => 0));
    expect(model).toEqual(original);
  });
});

describe("quality by the forward pass of calibration", () => {
  // Inputs of tokens and what rows carry; routed and shared experts.
  it.each(["gemma4", "qwen2-moe"])("is what PyTorch's logits of %s say", async (name) => {
    const fixture = await openMeasured(name);
    const { model, leftBytes } = await measure(LARGE.budgets[0], fixture, null);
    const rows = fixture.sequences.flat().length;
    const expected = logSoftmax(fixture.logits, fixture.logits.length / rows);
    let loss = 0;
    for (const { row, target } of predicted(fixture.sequences)) loss -= expected[row]?.[target] ?? 0;
    expect(Math.abs(model.loss / loss - 1)).toBeLessThan(1e-6);
    expect(leftBytes).toBe(0);
  });
});

describe("a budget that holds no batch", () => {
  it("is refused with a sentence", async () => {
    const fixture = await openMeasured("llama");
    await expect(measure(TINY.budgets[0] / 1.25, fixture, null)).rejects.toThrow("Choose a larger budget");
  });
});
