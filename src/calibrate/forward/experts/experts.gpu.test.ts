import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { relativeError } from "../../../testing/fixtures/architecture-fixture.ts";
import type { Routing } from "../../../model/decoder-description.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
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

const plain: Routing = {
  topK: 2,
  scoring: "softmax",
  correction: null,
  groups: null,
  normalizeTopK: true,
  scale: 1,
};

async function routesOf(
  logits: Float32Array,
  experts: number,
  routing: Routing,
  given: Partial<Record<"correction" | "scales", Float32Array>> = {},
) {
  using x = await test.upload("logits", logits);
  using correction = given.correction ? await test.upload("correction", given.correction) : null;
  using scales = given.scales ? await test.upload("scales", given.scales) : null;
  const routes = await test.empty("routes", TOKENS * routing.topK * 8);
  const matrix = { buffer: x, rows: TOKENS, columns: experts, stride: logits.length / TOKENS };
  await route(test.gpu, routing, matrix, { correction, scales }, routes);
  const words = await test.readWords(routes);
  return { routes, words };
}

function weightsOf(words: Uint32Array): Float32Array {
  return new Float32Array(words.filter((_, index) => index % 2 === 1).buffer);
}

const byBest = { count: 8, kept: 3, by: "best" } as const;
const sigmoidGroups: Partial<Routing> = {
  topK: 6,
  scoring: "sigmoid",
  correction: "correction",
  groups: { count: 8, kept: 4, by: "best-two" },
  scale: 2.5,
};
const sparsemixer = { kind: "sparsemixer", jitter: 0.1 } as const;

describe("routing", () => {
  it.each<[string, number, Partial<Routing>]>([
    ["4 to 2", 4, {}],
    ["60 to 4, not normalized", 60, { topK: 4, normalizeTopK: false }],
    ["128 to 8", 128, { topK: 8 }],
    ["3 to 1", 3, { topK: 1, normalizeTopK: false }],
    ["all of 5", 5, { topK: 5 }],
    ["sigmoids, in groups by their best two", 64, sigmoidGroups],
    ["a softmax in groups by their best", 64, { ...sigmoidGroups, scoring: "softmax", groups: byBest }],
    ["a corrected softmax", 16, { correction: "correction", topK: 3 }],
    ["factors of experts", 16, { expertScales: "scales", topK: 4 }],
    ["two choices with a softmax each", 16, { scoring: sparsemixer, normalizeTopK: false }],
  ])("agrees with float64: %s", async (_name, experts, options) => {
    const routing: Routing = { ...plain, ...options };
    const stride = Math.ceil(experts / 4) * 4;
    const random = seededRandom(experts);
    const logits = randomNormal(TOKENS * stride, random, 2);
    const vectors = {
      ...(routing.correction === null ? {} : { correction: randomNormal(experts, random, 0.2) }),
      ...(routing.expertScales === undefined ? {} : { scales: randomNormal(experts, random, 0.2) }),
    };
    const { routes, words } = await routesOf(logits, experts, routing, vectors);
    routes[Symbol.dispose]();
    const expected = Array.from({ length: TOKENS }, (_, token) =>
      referenceRoutes(logits.subarray(token * stride, token * stride + experts), routing, {
        correction: null,
        scales: null,
        ...vectors,
      }),
    ).flat();
    const chosen = Array.from(words.filter((_, index) => index % 2 === 0));
    expect(chosen).toEqual(expected.map(({ expert }) => expert));
    const weights = expected.map(({ weight }) => weight);
    for (const [index, weight] of weightsOf(words).entries()) {
      expect(Math.abs(weight - (weights[index] ?? 0))).toBeLessThan(3e-6);
    }
  });

  it("takes the first of equal logits, and weights that sum to one", async () => {
    const { routes, words } = await routesOf(new Float32Array(TOKENS * 8).fill(0.5), 8, {
      ...plain,
      topK: 3,
    });
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
      const chosen = referenceRoutes(logits.subarray(token * 4, token * 4 + 4), plain);
      const sum = chosen.reduce((total, { expert, weight }) => total + weight * (expert + 1), 0);
      return value + 0.5 * sum * (x[index] ?? 0);
    });
  }

  it("reach their tokens, whether they saw all or theirs", async () => {
    const { routes, words } = await routesOf(logits, 4, plain);
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

  it("have weights of one where the inputs were weighed", async () => {
    const { routes, words } = await routesOf(logits, 4, plain);
    using routed = routes;
    const { order: entries, starts } = sortRoutes(words, 4);
    using input = await test.upload("x", x);
    using order = await test.upload("order", entries);
    using gathered = await test.empty("gathered", x.byteLength);
    using y = await test.upload("y", before);
    for (let expert = 0; expert < 4; expert++) {
      const firstEntry = starts[expert] ?? 0;
      const count = (starts[expert + 1] ?? 0) - firstEntry;
      const tokens = { order, firstEntry, tokens: count, topK: 2 };
      await gatherRows(test.gpu, tokens, { ...matrix, buffer: input }, gathered, routed);
      const rows = { ...matrix, rows: count, buffer: gathered };
      const own = { kind: "unweighed", tokens } as const;
      await addWeighted(test.gpu, own, rows, { buffer: y, stride: 12 }, 0.5 * (expert + 1));
    }
    expect(relativeError(await test.readFloats(y), expected())).toBeLessThan(2e-6);
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
