import { describe, expect, it } from "vitest";
import { loadArchitecture, relativeError } from "../../testing/fixtures/architecture-fixture.ts";
import { storedFixture } from "../../testing/fixtures/stored-fixture.ts";
import { createEngine, type Provider } from "../runtime/engine.ts";
import { openGenerator } from "./generate.ts";
import { greedyToken } from "./sample-token.ts";

const PROMPT = [5, 17, 200, 3, 99];
/** Two tokens less than the window of the fixture that has one. */
const LONG_PROMPT = [...PROMPT, ...PROMPT, 1, 2, 3, 4];
const MIB = 1024 ** 2;

/** Logits after each of `count` greedy tokens, and how they came about. */
async function generate(
  name: string,
  options: { readonly provider: Provider; readonly budgetBytes: number },
  { prompt = PROMPT, count = 4 } = {},
) {
  const fixture = await loadArchitecture(name);
  const model = storedFixture(fixture.config, fixture.tensors);
  const engine = await createEngine(options);
  try {
    const ids = [...prompt];
    const logits: number[] = [];
    let known = 0;
    const decoder = await openGenerator(engine, model, prompt.length + count);
    for (let step = 0; step < count; step++) {
      const next = await decoder.next(ids, known);
      logits.push(...next);
      known = ids.length;
      ids.push(greedyToken(next));
    }
    const { weights } = decoder;
    const captured = decoder.isCaptured();
    decoder[Symbol.dispose]();
    return { ids, logits, weights, captured, left: engine.gpu?.memory.live() ?? [] };
  } finally {
    await engine[Symbol.asyncDispose]();
  }
}

describe("generation", () => {
  // One that looks tokens up in its head, multiplied, and one with an embedding of its own.
  it.each(["granite", "qwen3"])("of %s by recorded commands gives WebAssembly's logits", async (name) => {
    const expected = await generate(name, { provider: "wasm", budgetBytes: MIB });
    const { ids, logits, captured, weights, left } = await generate(name, {
      provider: "webgpu",
      budgetBytes: 64 * MIB,
    });
    expect({ captured, weights, left }).toEqual({ captured: true, weights: "resident", left: [] });
    expect(ids).toEqual(expected.ids);
    expect(relativeError(logits, Float32Array.from(expected.logits))).toBeLessThan(1e-5);
  });

  it("in a window that is exceeded runs operator by operator, to the same logits", async () => {
    const asked = { prompt: LONG_PROMPT, count: 4 };
    const expected = await generate("mistral-sliding", { provider: "wasm", budgetBytes: MIB }, asked);
    const actual = await generate("mistral-sliding", { provider: "webgpu", budgetBytes: 64 * MIB }, asked);
    expect(actual.captured).toBe(false);
    expect(actual.ids).toEqual(expected.ids);
    expect(relativeError(actual.logits, Float32Array.from(expected.logits))).toBeLessThan(1e-5);
  });

  it("of a model that is larger than the budget goes layer by layer, to the same tokens", async () => {
    const expected = await generate("llama", { provider: "wasm", budgetBytes: MIB }, { count: 2 });
    const actual = await generate("llama", { provider: "webgpu", budgetBytes: 0.2 * MIB }, { count: 2 });
    expect(actual.weights).toBe("layer by layer");
    expect(actual.ids).toEqual(expected.ids);
    expect(actual.left).toEqual([]);
  });
});
