import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { relativeError } from "../../../testing/architecture-fixture.ts";
import { openTestGpu, type TestGpu } from "../../../testing/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { sortRoutes } from "./expert-order.ts";
import { referenceRoutes } from "./reference.ts";
import { addWeighted, gatherRows, route } from "./route.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const TOKENS = 130;
const COLUMNS = 12;

async function routesOf(logits: Float32Array, experts: number, topK: number, normalizeTopK: boolean) {
  using x = await test.upload("logits", logits);
  const routes = await test.empty("routes", TOKENS * topK * 8);
  const matrix = { buffer: x, rows: TOKENS, columns: experts, stride: logits.length / TOKENS };
  await route(test.gpu, { topK, normalizeTopK }, matrix, routes);
  const words = await test.readWords(routes);
  return { routes, words };
}

function weightsOf(words: Uint32Array): Float32Array {
  return new Float32Array(words.filter((_, index) => index % 2 === 1).buffer);
}

describe("routing", () => {
  it.each([
    [4, 2, true],
    [60, 4, false],
    [128, 8, true],
    [3, 1, false],
    [5, 5, true],
  ])("of %i experts to %i agrees with float64, normalized %s", async (experts, topK, normalize) => {
    const stride = Math.ceil(experts / 4) * 4;
    const logits = randomNormal(TOKENS * stride, seededRandom(experts), 2);
    const { routes, words } = await routesOf(logits, experts, topK, normalize);
    routes[Symbol.dispose]();
    const expected = Array.from({ length: TOKENS }, (_, token) =>
      referenceRoutes(logits.subarray(token * stride, token * stride + experts), topK, normalize),
    ).flat();
    const chosen = Array.from(words.filter((_, index) => index % 2 === 0));
    expect(chosen).toEqual(expected.map(({ expert }) => expert));
    const weights = expected.map(({ weight }) => weight);
    for (const [index, weight] of weightsOf(words).entries()) {
      expect(Math.abs(weight - (weights[index] ?? 0))).toBeLessThan(2e-6);
    }
  });

  it("takes the first of equal logits, and weights that sum to one", async () => {
    const { routes, words } = await routesOf(new Float32Array(TOKENS * 8).fill(0.5), 8, 3, true);
    routes[Symbol.dispose]();
    expect([words[0], words[2], words[4]]).toEqual([0, 1, 2]);
    expect(weightsOf(words).every((weight) => Math.abs(weight - 1 / 3) < 1e-6)).toBe(true);
  });
});

describe("outputs of experts", () => {
  const random = seededRandom(12);
  const logits = randomNormal(TOKENS * 4, random);
  const x = randomNormal(TOKENS * COLUMNS, random);
  const before = randomNormal(TOKENS * COLUMNS, random);
  const matrix = { rows: TOKENS, columns: COLUMNS, stride: COLUMNS };

  /** y + 0.5 · Σ weight · (expert + 1) · x over each token's experts. */
  function expected(): Float64Array {
    return Float64Array.from(before, (value, index) => {
      const token = Math.floor(index / COLUMNS);
      const chosen = referenceRoutes(logits.subarray(token * 4, token * 4 + 4), 2, true);
      const sum = chosen.reduce((total, { expert, weight }) => total + weight * (expert + 1), 0);
      return value + 0.5 * sum * (x[index] ?? 0);
    });
  }

  it("reach their tokens, whether they saw all or theirs", async () => {
    const { routes, words } = await routesOf(logits, 4, 2, true);
    using routed = routes;
    const { order: entries, starts } = sortRoutes(words, 4);
    using input = await test.upload("x", x);
    using order = await test.upload("order", entries);
    using gathered = await test.empty("gathered", x.byteLength);
    using all = await test.upload("y", before);
    using theirs = await test.upload("y", before);
    for (let expert = 0; expert < 4; expert++) {
      const scale = 0.5 * (expert + 1);
      const searched = { kind: "searched", routes: routed, expert, topK: 2 } as const;
      await addWeighted(test.gpu, searched, { ...matrix, buffer: input }, { buffer: all, stride: 12 }, scale);
      const firstEntry = starts[expert] ?? 0;
      const count = (starts[expert + 1] ?? 0) - firstEntry;
      const tokens = { order, firstEntry, tokens: count, topK: 2 };
      await gatherRows(test.gpu, tokens, { ...matrix, buffer: input }, gathered);
      const rows = { ...matrix, rows: count, buffer: gathered };
      const own = { kind: "routed", routes: routed, tokens } as const;
      await addWeighted(test.gpu, own, rows, { buffer: theirs, stride: 12 }, scale);
    }
    expect(relativeError(await test.readFloats(all), expected())).toBeLessThan(2e-6);
    expect(relativeError(await test.readFloats(theirs), expected())).toBeLessThan(2e-6);
  });

  it("of a shared expert are multiplied by the sigmoid of its gate", async () => {
    using input = await test.upload("x", x);
    using gate = await test.upload("gate", logits);
    using y = await test.upload("y", before);
    const gated = { kind: "gated", logits: { buffer: gate, stride: 4 } } as const;
    await addWeighted(test.gpu, gated, { ...matrix, buffer: input }, { buffer: y, stride: 12 }, 1);
    const sums = Float64Array.from(before, (value, index) => {
      const logit = logits[Math.floor(index / COLUMNS) * 4] ?? 0;
      return value + (x[index] ?? 0) / (1 + Math.exp(-logit));
    });
    expect(relativeError(await test.readFloats(y), sums)).toBeLessThan(2e-6);
  });
});
