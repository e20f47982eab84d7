import { describe, expect, it } from "vitest";
import { floatsOf, loadArchitecture } from "../../testing/architecture-fixture.ts";
import { fixtureIds } from "../../testing/open-decoder.ts";
import { storedFixture } from "../../testing/stored-fixture.ts";
import { createEngine } from "../runtime/engine.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { measureQuality } from "./measure-quality.ts";

interface Fixture {
  readonly model: StoredModel;
  readonly sequences: number[][];
  /** PyTorch's logits of the first sequence, then of the others. */
  readonly logits: Float32Array;
}

async function openFixture(name: string): Promise<Fixture> {
  const fixture = await loadArchitecture(name);
  const { ids, lengths } = fixtureIds(fixture);
  const sequences: number[][] = [];
  let first = 0;
  for (const length of lengths) sequences.push(ids.slice(first, (first += length)));
  return {
    model: storedFixture(fixture.config, fixture.tensors),
    sequences,
    logits: floatsOf(fixture.reference, "logits"),
  };
}

/** Log-probabilities in float64, row by row. */
function logSoftmax(logits: Float32Array, vocabulary: number): number[][] {
  return Array.from({ length: logits.length / vocabulary }, (_, row) => {
    const values = [...logits.subarray(row * vocabulary, (row + 1) * vocabulary)];
    const largest = Math.max(...values);
    const sum = values.reduce((total, value) => total + Math.exp(value - largest), 0);
    return values.map((value) => value - largest - Math.log(sum));
  });
}

/** Rows whose next token is known, with that token. */
function* predicted(sequences: readonly number[][]) {
  let row = 0;
  for (const ids of sequences) {
    for (const target of ids.slice(1)) yield { row: row++, target };
    row++;
  }
}

async function measure(own: Fixture, original: Fixture | null) {
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
    const fixture = await openFixture("llama");
    const { model, original, divergence } = await measure(fixture, null);
    const expected = logSoftmax(fixture.logits, 256);
    let loss = 0;
    for (const { row, target } of predicted(fixture.sequences)) loss -= expected[row]?.[target] ?? 0;
    expect(model.tokens).toBe(94);
    expect(Math.abs(model.loss / loss - 1)).toBeLessThan(1e-6);
    expect([original, divergence]).toEqual([null, null]);
  });

  it("between two models is the divergence of their logits", async () => {
    const [own, other] = [await openFixture("llama-bias"), await openFixture("llama")];
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
    const fixture = await openFixture("llama");
    const { divergence, layers, model, original } = await measure(fixture, fixture);
    expect(divergence).toEqual({ tokens: 94, kl: 0, worstKl: 0, equalGreedy: 94 });
    expect(layers.map(({ relativeError }) => relativeError)).toEqual(layers.map(() => 0));
    expect(model).toEqual(original);
  });
});
