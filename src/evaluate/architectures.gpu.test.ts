import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ARCHITECTURES,
  floatsOf,
  loadArchitecture,
  relativeError,
} from "../testing/fixtures/architecture-fixture.ts";
import { fixtureIds } from "../testing/fixtures/open-decoder.ts";
import { storedFixture } from "../testing/fixtures/stored-fixture.ts";
import { WEBGPU_FAMILIES } from "../testing/fixtures/webgpu-families.ts";
import { headGraph, layerGraph } from "./graph/decoder-graph.ts";
import { firstRows, masksOf, positionFeeds, runHead, runLayer, tokenFeeds } from "./run-layer.ts";
import { rowSize } from "../model/decoder-description.ts";
import { createEngine, type Engine } from "./runtime/engine.ts";
import type { StoredModel } from "./weights/stored-model.ts";
import { planLinears } from "./weights/weight-values.ts";

/** Float32 rounding through a few layers: 4e-6 at most where tried; a wrong formula is off by 1e-2 or more. */
const TOLERANCE = 1e-5;

/** Norms of small values in each layer's last block; sums of many products; the delta rule's small values, against float64. */
const LOOSE = new Map([
  ["gemma4", 3e-5],
  ["falcon-h1", 2e-5],
  ["qwen3-next", 5e-4],
]);

async function logitsOf(engine: Engine, model: StoredModel, ids: readonly number[]) {
  const { description } = model;
  const width = rowSize(description);
  const plan = planLinears(model, engine.maxInputBytes);
  const positions = positionFeeds(engine, 0, ids.length, masksOf(description));
  let rows = await firstRows(model, ids);
  for (const [index, layer] of description.layers.entries()) {
    using onloaded = await engine.onload(model, layerGraph(description, layer, plan), ids.length);
    const feeds = { ...positions, ...(await tokenFeeds(engine, model, ids, index)) };
    rows = await runLayer(engine, onloaded, rows, { width, feeds });
  }
  using head = await engine.onload(model, headGraph(description, plan), ids.length);
  return await runHead(engine, head, rows, width);
}

describe.each([
  { provider: "wasm", names: ARCHITECTURES },
  { provider: "webgpu", names: WEBGPU_FAMILIES },
] as const)("onnxruntime-web on $provider agrees with PyTorch in float32", ({ provider, names }) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine({ budgetBytes: 2 ** 28, provider });
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
  });

  it.each(names)("%s", async (name) => {
    const fixture = await loadArchitecture(name);
    const model = storedFixture(fixture.config, fixture.tensors);
    const { ids, lengths } = fixtureIds(fixture);
    const length = lengths[0] ?? 0;
    const actual: number[] = [];
    for (let first = 0; first < ids.length; first += length) {
      actual.push(...(await logitsOf(engine, model, ids.slice(first, first + length))));
    }
    const error = relativeError(actual, floatsOf(fixture.reference, "logits"));
    expect(error).toBeLessThan(LOOSE.get(name) ?? TOLERANCE);
  });

  it("and gives back every weight", () => {
    expect(engine.gpu?.memory.live() ?? []).toEqual([]);
  });
});
