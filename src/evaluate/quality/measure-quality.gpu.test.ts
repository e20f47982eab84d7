import { describe, expect, it } from "vitest";
import {
  logSoftmax,
  type MeasuredFixture,
  openMeasured,
  predicted,
} from "../../testing/fixtures/measured-fixture.ts";
import { createEngine } from "../runtime/engine.ts";
import { measureQuality } from "./measure-quality.ts";

async function measure(own: MeasuredFixture, original: MeasuredFixture | null) {
  const engine = await createEngine({ budgetBytes: 2 ** 20, provider: "wasm" });
  try {
    return await measureQuality({
      engine,
      model: own.model,
      original: original?.model ?? null,
      sequences: own.sequences,
      signal: new AbortController().signal,
      onProgress: () => undefined,
    });
  } finally {
    await engine[Symbol.asyncDispose]();
  }
}

describe("quality on WebAssembly", () => {
  it("is what PyTorch's logits say", async () => {
    const fixture = await openMeasured("llama");
    const { model, original, divergence } = await measure(fixture, null);
    const expected = logSoftmax(fixture.logits, 256);
    let loss = 0;
    for (const { row, target } of predicted(fixture.sequences)) loss -= expected[row]?.[target] ?? 0;
    expect(model.tokens).toBe(94);
    expect(Math.abs(model.loss / loss - 1)).toBeLessThan(1e-6);
    expect([original, divergence]).toEqual([null, null]);
  });

  it("between two models is the divergence of their logits", async () => {
    const [own, other] = [await openMeasured("llama-bias"), await openMeasured("llama")];
    const quality = await measure(own, other);
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
    expect(Math.abs((quality.divergence?.kl ?? 0) / kl - 1)).toBeLessThan(1e-5);
    expect(Math.abs((quality.divergence?.worstKl ?? 0) / worst - 1)).toBeLessThan(1e-5);
    expect(quality.divergence?.equalGreedy).toBe(equal);
    expect(Math.abs((quality.original?.loss ?? 0) / loss - 1)).toBeLessThan(1e-6);
    expect(quality.layers.every(({ relativeError }) => relativeError > 0.01)).toBe(true);
  });

  it("between a model and itself is no divergence at all", async () => {
    const fixture = await openMeasured("llama");
    const { divergence, layers, model, original } = await measure(fixture, fixture);
    expect(divergence).toEqual({ tokens: 94, kl: 0, worstKl: 0, equalGreedy: 94 });
    expect(layers.map(({ relativeError }) => relativeError)).toEqual(layers.map(() => 0));
    expect(model).toEqual(original);
  });
});
